/* Stands in for the CUDA driver where there is none: the wheel's libtvm.so imports these names, and
 * the compiler calls none of them. Each says CUDA_ERROR_NO_DEVICE. */

enum { NO_DEVICE = 100 };

#define STUB(name)                                                                                 \
  int name(void);                                                                                  \
  int name(void) {                                                                                 \
    return NO_DEVICE;                                                                              \
  }

STUB(cuDeviceGetName)
STUB(cuFuncSetAttribute)
STUB(cuGetErrorName)
STUB(cuLaunchKernel)
STUB(cuMemsetD32_v2)
STUB(cuModuleGetFunction)
STUB(cuModuleGetGlobal_v2)
STUB(cuModuleLoadData)
STUB(cuModuleUnload)
