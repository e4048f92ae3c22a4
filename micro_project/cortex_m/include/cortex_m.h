/* The few core registers that the port uses (Armv7-M and Armv8-M architecture reference
 * manuals, system control space). */
#ifndef TVM_PATCH_CORTEX_M_H
#define TVM_PATCH_CORTEX_M_H

#include <stdint.h>

#define TVM_PATCH_REGISTER(address) (*(volatile uint32_t *)(address))

/* Arrays of 32 interrupt lines a word. */
#define NVIC_ISER ((volatile uint32_t *)0xe000e100u)
#define NVIC_ICPR ((volatile uint32_t *)0xe000e280u)
#define SCB_VTOR TVM_PATCH_REGISTER(0xe000ed08u)
#define SCB_AIRCR TVM_PATCH_REGISTER(0xe000ed0cu)
#define SCB_CFSR TVM_PATCH_REGISTER(0xe000ed28u)
#define SCB_HFSR TVM_PATCH_REGISTER(0xe000ed2cu)
#define SCB_MMFAR TVM_PATCH_REGISTER(0xe000ed34u)
#define SCB_BFAR TVM_PATCH_REGISTER(0xe000ed38u)
#define SCB_CPACR TVM_PATCH_REGISTER(0xe000ed88u)
#define MPU_CTRL TVM_PATCH_REGISTER(0xe000ed94u)
#define MPU_RBAR TVM_PATCH_REGISTER(0xe000ed9cu)
#define MPU_RASR TVM_PATCH_REGISTER(0xe000eda0u)

enum {
  SCB_CPACR_FPU_FULL_ACCESS = 0xf << 20,
  MPU_CTRL_ENABLE = 1 << 0,
  /* Everything that no region covers keeps its default access. */
  MPU_CTRL_PRIVDEFENA = 1 << 2,
  MPU_RBAR_VALID = 1 << 4,
  MPU_RASR_ENABLE = 1 << 0,
  MPU_RASR_EXECUTE_NEVER = 1 << 28,
};

#define SCB_AIRCR_SYSTEM_RESET (0x05fa0000u | (1u << 2))

static inline void cortex_m_barrier(void) {
  __asm__ volatile("dsb\n\tisb" ::: "memory");
}

static inline void cortex_m_mask_interrupts(void) {
  __asm__ volatile("cpsid i" ::: "memory");
}

/* Returns when an enabled interrupt is pending, masked or not. */
static inline void cortex_m_wait_for_interrupt(void) {
  __asm__ volatile("dsb\n\twfi" ::: "memory");
}

#endif
