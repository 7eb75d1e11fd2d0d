/* SPDX-License-Identifier: Apache-2.0 */

/* A modules.dep, and behind its first NUL byte a modules.builtin. */
#include <string.h>

#include "image/modules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const ModuleWanted wanted[] = {{"a", false}, {"b", true}, {"virtio_blk", true}};
    const char *text = (const char *)data, *cut = size ? memchr(text, '\0', size) : NULL;
    size_t dep_size = cut ? (size_t)(cut - text) : size;
    _cleanup_(strlist_free) StrList order = {0};
    (void)modules_closure(text, dep_size, cut ? cut + 1 : NULL, cut ? size - dep_size - 1 : 0,
                          wanted, ARRAY_SIZE(wanted), &order, NULL);
    return 0;
}
