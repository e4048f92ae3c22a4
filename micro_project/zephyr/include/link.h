/* The serial link of the Zephyr port. */
#ifndef TVM_PATCH_LINK_H
#define TVM_PATCH_LINK_H

void tvm_patch_link_open(void);

#endif
