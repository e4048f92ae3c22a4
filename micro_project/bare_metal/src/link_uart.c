/* The UART of the Cortex-M System Design Kit (Arm DDI 0479, APB UART). */
#include "board_config.h"
#include "cortex_m.h"
#include "link.h"
#include "tvm_patch/platform.h"

struct cmsdk_uart {
  volatile uint32_t data;
  volatile uint32_t state;
  volatile uint32_t control;
  volatile uint32_t interrupt;
  volatile uint32_t baud_divider;
};

enum {
  STATE_TX_FULL = 1 << 0,
  STATE_RX_FULL = 1 << 1,
  CONTROL_TX_ENABLE = 1 << 0,
  CONTROL_RX_ENABLE = 1 << 1,
  CONTROL_RX_INTERRUPT_ENABLE = 1 << 3,
  INTERRUPT_RX = 1 << 1,
  BAUD_DIVIDER_MIN = 16,
};

#define UART ((struct cmsdk_uart *)TVM_PATCH_UART_BASE)

enum { IRQ_WORD = TVM_PATCH_UART_IRQ / 32 };
static const uint32_t irq_bit = 1u << (TVM_PATCH_UART_IRQ % 32);

/* Interrupts stay masked for good. A pending one still ends a wait for interrupt, which is all
 * that is wanted: nothing is ever pushed on the stack behind the back of a measurement. */
void tvm_patch_link_open(void) {
  cortex_m_mask_interrupts();
  UART->baud_divider = BAUD_DIVIDER_MIN;
  UART->control = CONTROL_TX_ENABLE | CONTROL_RX_ENABLE | CONTROL_RX_INTERRUPT_ENABLE;
  NVIC_ISER[IRQ_WORD] = irq_bit;
}

static int byte_waiting(void) {
  return (UART->state & STATE_RX_FULL) != 0;
}

size_t tvm_patch_platform_read(uint8_t *data, size_t capacity) {
  while (!byte_waiting()) {
    UART->interrupt = INTERRUPT_RX;
    NVIC_ICPR[IRQ_WORD] = irq_bit;
    /* A byte that came before the interrupt was cleared would not end the wait. */
    if (!byte_waiting()) {
      cortex_m_wait_for_interrupt();
    }
  }
  size_t size = 0;
  while (size < capacity && byte_waiting()) {
    data[size++] = (uint8_t)UART->data;
  }
  return size;
}

void tvm_patch_platform_write(const uint8_t *data, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    while ((UART->state & STATE_TX_FULL) != 0) {
    }
    UART->data = data[i];
  }
}
