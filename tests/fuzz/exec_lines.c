/* SPDX-License-Identifier: Apache-2.0 */

/* An exec request in lines, as any client may send it. */

#include <stdint.h>
#include <stdlib.h>

#include "proto/exec_lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *request = NULL;
    if (exec_lines_parse((const char *)data, size, &request, NULL) == 0 && !json_is_object(request))
        abort();
    json_decref(request);
    return 0;
}
