/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/pairs.h"

#include <string.h>

#include "base/str.h"

int pairs_parse(const char *text, PairHandler handler, void *data, Error *error) {
    int r = 0;
    while (r >= 0 && *text) {
        size_t size = strcspn(text, ","), name = strcspn(text, "=,");
        _cleanup_free_ char *key = str_format("%.*s", (int)name, text);
        _cleanup_free_ char *value =
            name < size ? str_format("%.*s", (int)(size - name - 1), text + name + 1)
                        : str_copy("");
        r = handler(data, key, value, error);
        text += size + (text[size] == ',');
    }
    return r < 0 ? r : 0;
}
