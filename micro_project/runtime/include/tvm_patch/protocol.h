/* Numbers of the serial protocol; docs/protocol.md describes it. Mirrored by
 * tvm_patch/micro/protocol.py, and a test compares the two. */
#ifndef TVM_PATCH_PROTOCOL_H
#define TVM_PATCH_PROTOCOL_H

enum {
  TVM_PATCH_PROTOCOL_VERSION = 3,

  /* version u8, command u8, sequence u16, status u8 */
  TVM_PATCH_HEADER_BYTES = 5,
  TVM_PATCH_CRC_BYTES = 4,
  TVM_PATCH_PAYLOAD_MAX_BYTES = 1024,
  /* Of a ping's payload: what tells one session from another. */
  TVM_PATCH_TOKEN_BYTES = 8,
  TVM_PATCH_MESSAGE_MAX_BYTES = TVM_PATCH_HEADER_BYTES + TVM_PATCH_PAYLOAD_MAX_BYTES +
      TVM_PATCH_CRC_BYTES,

  /* Set in the command of every frame that the device sends. */
  TVM_PATCH_REPLY_FLAG = 0x80,
};

enum tvm_patch_command {
  TVM_PATCH_COMMAND_NONE = 0x00,
  TVM_PATCH_COMMAND_PING = 0x01,
  TVM_PATCH_COMMAND_INFO = 0x02,
  TVM_PATCH_COMMAND_DESCRIBE_INPUT = 0x03,
  TVM_PATCH_COMMAND_DESCRIBE_OUTPUT = 0x04,
  TVM_PATCH_COMMAND_DESCRIBE_OPERATOR = 0x05,
  TVM_PATCH_COMMAND_WRITE_INPUT = 0x06,
  TVM_PATCH_COMMAND_READ_OUTPUT = 0x07,
  TVM_PATCH_COMMAND_RUN = 0x08,
  TVM_PATCH_COMMAND_RUN_UNTIL = 0x09,
  TVM_PATCH_COMMAND_PROFILE = 0x0a,
  TVM_PATCH_COMMAND_MEMORY = 0x0b,
  TVM_PATCH_COMMAND_PAINT = 0x0c,
  TVM_PATCH_COMMAND_READ_ARENA = 0x0d,
  TVM_PATCH_COMMAND_RESET = 0x0e,
  /* Asked by the device, in the middle of a request that runs the network; the host answers. */
  TVM_PATCH_COMMAND_FETCH_ROWS = 0x0f,
  TVM_PATCH_COMMAND_SPANS = 0x10,
  /* Only ever sent by the device, unasked: the firmware has faulted. */
  TVM_PATCH_COMMAND_FAULT = 0x7f,
};

enum tvm_patch_status {
  TVM_PATCH_STATUS_OK = 0x00,
  /* The request is being worked on; the answer follows in a frame of its own. */
  TVM_PATCH_STATUS_WORKING = 0x01,
  TVM_PATCH_STATUS_DAMAGED_FRAME = 0x02,
  TVM_PATCH_STATUS_WRONG_VERSION = 0x03,
  TVM_PATCH_STATUS_UNKNOWN_COMMAND = 0x04,
  TVM_PATCH_STATUS_MALFORMED = 0x05,
  TVM_PATCH_STATUS_OUT_OF_RANGE = 0x06,
  TVM_PATCH_STATUS_MODEL_FAILED = 0x07,
  /* The network was waiting for rows of its input when another request came. */
  TVM_PATCH_STATUS_ABORTED = 0x08,
  /* The device has started anew since it was last greeted: what was written to it is gone. */
  TVM_PATCH_STATUS_RESTARTED = 0x09,
};

enum tvm_patch_clock_kind {
  /* An emulator that counts instructions: one tick is a fixed number of them. */
  TVM_PATCH_CLOCK_INSTRUCTIONS = 0,
  TVM_PATCH_CLOCK_CYCLES = 1,
  TVM_PATCH_CLOCK_NANOSECONDS = 2,
};

enum {
  TVM_PATCH_RUNS_MAX = 100,
  TVM_PATCH_PROFILE_MAX = 100,
  TVM_PATCH_SPANS_MAX = 80,
};

/* Reported where the port cannot tell a size. */
#define TVM_PATCH_UNKNOWN UINT32_MAX

#endif
