#include "faults.h"

#include <stdint.h>

#include "cortex_m.h"
#include "tvm_patch/crc32.h"
#include "tvm_patch/framing.h"
#include "tvm_patch/platform.h"
#include "tvm_patch/protocol.h"
#include "tvm_patch/wire.h"

extern uint8_t stack_limit[], stack_top[];

/* Where the core has put lr, pc in the frame that it pushes on exception entry. */
enum { FRAME_LR = 5, FRAME_PC = 6, FRAME_WORDS = 8 };

static void send_fault(uintptr_t stack_pointer) {
  uint8_t message[TVM_PATCH_HEADER_BYTES + 7 * sizeof(uint32_t) + TVM_PATCH_CRC_BYTES] = {
      TVM_PATCH_PROTOCOL_VERSION, TVM_PATCH_COMMAND_FAULT | TVM_PATCH_REPLY_FLAG, 0, 0,
      TVM_PATCH_STATUS_OK,
  };
  struct tvm_patch_writer payload = {
      .data = message + TVM_PATCH_HEADER_BYTES,
      .capacity = sizeof(message) - TVM_PATCH_HEADER_BYTES,
      .ok = true,
  };
  /* After an overflow the frame was never pushed, and reading it would fault again. */
  const uint32_t *frame = (const uint32_t *)stack_pointer;
  const int framed = stack_pointer >= (uintptr_t)stack_limit &&
                     stack_pointer <= (uintptr_t)stack_top - FRAME_WORDS * sizeof(uint32_t);
  tvm_patch_write_u32(&payload, SCB_CFSR);
  tvm_patch_write_u32(&payload, SCB_HFSR);
  tvm_patch_write_u32(&payload, SCB_MMFAR);
  tvm_patch_write_u32(&payload, SCB_BFAR);
  tvm_patch_write_u32(&payload, framed ? frame[FRAME_PC] : 0);
  tvm_patch_write_u32(&payload, framed ? frame[FRAME_LR] : 0);
  tvm_patch_write_u32(&payload, (uint32_t)stack_pointer);
  const size_t covered = TVM_PATCH_HEADER_BYTES + payload.size;
  tvm_patch_store_u32(message + covered, tvm_patch_crc32(0, message, covered));
  tvm_patch_frame_encode(message, covered + TVM_PATCH_CRC_BYTES, tvm_patch_platform_write);
}

_Noreturn void report_fault(uintptr_t stack_pointer);

/* Says it once, and again behind every request: the host may not have been listening. */
__attribute__((used)) _Noreturn void report_fault(uintptr_t stack_pointer) {
  static const uint8_t delimiter = 0;
  tvm_patch_platform_write(&delimiter, 1); /* ends a frame that was being sent */
  for (;;) {
    send_fault(stack_pointer);
    uint8_t byte;
    do {
      tvm_patch_platform_read(&byte, 1);
    } while (byte != 0);
  }
}

/* The interrupted code's stack is of no more use, and may be what failed: start a new one. */
__attribute__((naked)) void fault_handler(void) {
  __asm__ volatile(
#if defined(__ARM_ARCH_8M_MAIN__)
      "movs r1, #0\n\t"
      "mrs r0, msp\n\t"
      "msr msplim, r1\n\t"
#else
      "mrs r0, msp\n\t"
#endif
      "ldr r1, =stack_top\n\t"
      "msr msp, r1\n\t"
      "isb\n\t"
      "b report_fault\n\t"
      ".ltorg");
}
