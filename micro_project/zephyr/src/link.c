/* A UART, or USB CDC ACM, by interrupts; by polling once a fault has happened. */
#include "link.h"

#include <zephyr/device.h>
#include <zephyr/drivers/uart.h>
#include <zephyr/kernel.h>
#include <zephyr/sys/ring_buffer.h>

#if defined(CONFIG_USB_DEVICE_STACK)
#include <zephyr/usb/usb_device.h>
#endif

#include "quiet.h"
#include "tvm_patch/platform.h"

#if DT_HAS_CHOSEN(tvm_patch_link)
#define LINK_NODE DT_CHOSEN(tvm_patch_link)
#else
#define LINK_NODE DT_CHOSEN(zephyr_console)
#endif

/* Where a host that has gone would hold the device up: USB takes no more without a reader. */
#define SEND_TIMEOUT K_SECONDS(2)

static const struct device *const uart = DEVICE_DT_GET(LINK_NODE);

RING_BUF_DECLARE(received, 512);
static K_SEM_DEFINE(something_received, 0, 1);

static const uint8_t *sending;
static size_t sending_size;
static K_SEM_DEFINE(all_sent, 0, 1);

static void take_received(void) {
  uint8_t *space;
  const uint32_t capacity = ring_buf_put_claim(&received, &space, ring_buf_space_get(&received));
  uint32_t size = 0;
  if (capacity != 0) {
    const int taken = uart_fifo_read(uart, space, (int)capacity);
    size = taken > 0 ? (uint32_t)taken : 0;
  } else {
    /* Nobody reads, or the host sends more than it may: a frame will be damaged and repeated. */
    uint8_t dropped;
    (void)uart_fifo_read(uart, &dropped, 1);
  }
  ring_buf_put_finish(&received, size);
  k_sem_give(&something_received);
}

static void send_more(void) {
  if (sending_size != 0) {
    const int sent = uart_fifo_fill(uart, sending, (int)sending_size);
    if (sent > 0) {
      sending += sent;
      sending_size -= (size_t)sent;
    }
  }
  if (sending_size == 0) {
    uart_irq_tx_disable(uart);
    k_sem_give(&all_sent);
  }
}

/* uart_irq_is_pending is not asked: the CMSDK UART's says no while it has room to send. */
static void on_interrupt(const struct device *device, void *context) {
  ARG_UNUSED(context);
  uart_irq_update(device);
  if (uart_irq_rx_ready(device)) {
    take_received();
  }
  if (uart_irq_tx_ready(device)) {
    send_more();
  }
}

void tvm_patch_link_open(void) {
#if defined(CONFIG_USB_DEVICE_STACK)
  (void)usb_enable(NULL);
#endif
  uart_irq_callback_user_data_set(uart, on_interrupt, NULL);
  uart_irq_rx_enable(uart);
  /* A byte that has come before gives no interrupt on some UARTs, and keeps others out. */
  uint8_t first;
  const unsigned int key = irq_lock();
  if (uart_poll_in(uart, &first) == 0) {
    (void)ring_buf_put(&received, &first, 1);
  }
  irq_unlock(key);
}

static size_t poll_received(uint8_t *data) {
  while (uart_poll_in(uart, data) != 0) {
  }
  return 1;
}

size_t tvm_patch_platform_read(uint8_t *data, size_t capacity) {
  tvm_patch_quiet_end();
  if (k_is_in_isr()) {
    return poll_received(data);
  }
  for (;;) {
    const uint32_t size = ring_buf_get(&received, data, (uint32_t)capacity);
    if (size != 0) {
      return size;
    }
    (void)k_sem_take(&something_received, K_FOREVER);
  }
}

void tvm_patch_platform_write(const uint8_t *data, size_t size) {
  tvm_patch_quiet_end();
  if (k_is_in_isr()) {
    for (size_t i = 0; i < size; ++i) {
      uart_poll_out(uart, data[i]);
    }
    return;
  }
  if (size == 0) {
    return;
  }
  k_sem_reset(&all_sent);
  sending = data;
  sending_size = size;
  uart_irq_tx_enable(uart);
  if (k_sem_take(&all_sent, SEND_TIMEOUT) != 0) {
    uart_irq_tx_disable(uart);
    sending_size = 0;
  }
}
