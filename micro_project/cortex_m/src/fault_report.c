#include "fault_report.h"

#include "cortex_m.h"
#include "tvm_patch/crc32.h"
#include "tvm_patch/framing.h"
#include "tvm_patch/platform.h"
#include "tvm_patch/protocol.h"
#include "tvm_patch/wire.h"

/* Where the core has put lr, pc in the frame that it pushes on exception entry. */
enum { FRAME_LR = 5, FRAME_PC = 6, FRAME_BYTES = 8 * 4 };

/* After an overflow the frame was never pushed, and reading it would fault again. */
static int frame_is_there(uintptr_t stack_pointer) {
  const struct tvm_patch_span stack = tvm_patch_platform()->stack;
  const uintptr_t limit = (uintptr_t)stack.begin;
  return stack_pointer >= limit && stack_pointer + FRAME_BYTES <= limit + stack.size_bytes;
}

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
  const uint32_t *frame = (const uint32_t *)stack_pointer;
  const int framed = frame_is_there(stack_pointer);
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

/* Says it once, and again behind every request: the host may not have been listening. */
__attribute__((used)) _Noreturn void tvm_patch_report_fault(uintptr_t stack_pointer) {
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
