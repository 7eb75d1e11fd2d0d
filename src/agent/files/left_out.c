/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>

#include "agent/files/copy.h"

void left_out_note(LeftOut *left_out, const char *name, const char *what) {
    if (left_out->n++ == 0)
        (void)snprintf(left_out->first, sizeof(left_out->first), "%.300s (%s)", name, what);
}

void left_out_tell(const LeftOut *left_out, Result *result) {
    if (left_out->n == 1)
        (void)result_say(result, ENOTSUP, "all but this was copied: %s", left_out->first);
    else if (left_out->n > 1)
        (void)result_say(result, ENOTSUP, "all but this was copied: %s, and %u more like it",
                         left_out->first, left_out->n - 1);
}
