/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/vm_host.h"

#include <string.h>

#include "base/str.h"

char *vm_host_name(const char *host) {
    size_t size = strlen(host), suffix = strlen(VM_HOST_SUFFIX);
    if (!str_has_suffix(host, VM_HOST_SUFFIX) || size == suffix)
        return NULL;
    return str_format("%.*s", (int)(size - suffix), host);
}
