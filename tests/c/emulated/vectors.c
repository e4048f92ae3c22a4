/* Enough of a vector table to run a program of the C library's semihosting on an emulated core. */
extern void _start(void);

static void halt(void) {
  for (;;) {
  }
}

#define STACK_TOP 0x20040000

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {
    (const void *)STACK_TOP,
    (const void *)_start,
    (const void *)halt,
    (const void *)halt,
};
