/* The link to the host. One of the link_*.c files is built, as the board says; it also
 * implements tvm_patch_platform_read and tvm_patch_platform_write. */
#ifndef TVM_PATCH_LINK_H
#define TVM_PATCH_LINK_H

void tvm_patch_link_open(void);

#endif
