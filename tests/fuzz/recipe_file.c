/* SPDX-License-Identifier: Apache-2.0 */

/* A recipe, as somebody else may have written it. */

#include <stdint.h>
#include <stdlib.h>

#include "cli/recipe_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *recipe = NULL;
    if (recipe_file_parse("x", (const char *)data, size, &recipe, NULL) == 0 &&
        !json_is_object(recipe))
        abort();
    json_decref(recipe);
    return 0;
}
