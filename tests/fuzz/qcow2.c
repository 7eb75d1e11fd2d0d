/* SPDX-License-Identifier: Apache-2.0 */
#include "disk/qcow2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    _cleanup_qcow2_info_ Qcow2Info info = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    (void)qcow2_parse_info(data, size, &info, &error);
    return 0;
}
