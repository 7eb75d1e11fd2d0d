/* SPDX-License-Identifier: Apache-2.0 */

/* A lab's description, as somebody else may have written it. */

#include <stdint.h>
#include <stdlib.h>

#include "cli/lab_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *request = NULL;
    if (lab_file_parse("x", (const char *)data, size, &request, NULL) == 0 &&
        !json_is_object(request))
        abort();
    json_decref(request);
    return 0;
}
