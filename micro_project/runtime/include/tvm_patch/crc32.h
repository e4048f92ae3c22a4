/* CRC-32 of IEEE 802.3 (reflected 0xEDB88320), as zlib computes it. */
#ifndef TVM_PATCH_CRC32_H
#define TVM_PATCH_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to begin with) over `data`. */
uint32_t tvm_patch_crc32(uint32_t crc, const uint8_t *data, size_t size);

#endif
