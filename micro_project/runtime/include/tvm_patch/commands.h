/* What each command does, apart from framing and repetition. */
#ifndef TVM_PATCH_COMMANDS_H
#define TVM_PATCH_COMMANDS_H

#include <stdint.h>

#include "tvm_patch/server.h"
#include "tvm_patch/wire.h"

/* Carries out `command` on the payload in `request`, writes the answer's payload and returns
 * its status (enum tvm_patch_status). */
uint8_t tvm_patch_execute(struct tvm_patch_server *server, uint8_t command,
                          struct tvm_patch_reader *request, struct tvm_patch_writer *reply);

#endif
