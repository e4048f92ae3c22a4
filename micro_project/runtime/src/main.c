#include "tvm_patch/model.h"
#include "tvm_patch/platform.h"
#include "tvm_patch/server.h"

int main(void) {
  static struct tvm_patch_server server;
  tvm_patch_platform_init();
  tvm_patch_server_init(&server, &tvm_patch_model);
  while (tvm_patch_server_poll(&server)) {
  }
  return 0;
}
