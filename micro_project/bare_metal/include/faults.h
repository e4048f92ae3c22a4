/* A fault ends the firmware, but not without telling the host what happened and where. */
#ifndef TVM_PATCH_FAULTS_H
#define TVM_PATCH_FAULTS_H

void fault_handler(void);

#endif
