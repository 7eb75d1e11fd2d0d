/* SPDX-License-Identifier: Apache-2.0 */

/* What makes a VM itself: host name, MAC, a name where none was given. The machine-id is the VM's
 * id, which is 128 random bits already. */

#include "home/identity.h"

#include <ctype.h>
#include <string.h>

#include "base/digest.h"
#include "base/str.h"

/* Labels of a host name have letters, digits and inner hyphens (RFC 1123, section 2.1); a VM's name
 * may also have '_' and '.'. A host name that had to be changed could meet another one, so it gets
 * a part of the id. */
char *identity_hostname(const char *name, const char *id) {
    char label[64];
    size_t size = 0;
    bool changed = false;
    for (const char *c = name; *c && size < sizeof(label) - 1; c++) {
        bool fine = isalnum((unsigned char)*c) || *c == '-';
        label[size++] = fine ? *c : '-';
        changed |= !fine;
    }
    while (size > 0 && label[size - 1] == '-') {
        size--;
        changed = true;
    }
    label[size] = '\0';
    if (!changed)
        return str_copy(label);
    return str_format("%.50s-%.8s", label, id);
}

/* 52:54:00 is QEMU's prefix: locally administered, unicast. */
void identity_mac(char mac[18]) {
    uint8_t tail[3];
    random_bytes(tail, sizeof(tail));
    (void)snprintf(mac, 18, "52:54:00:%02x:%02x:%02x", tail[0], tail[1], tail[2]);
}

char *identity_name(void) {
    _cleanup_free_ char *digits = random_hex(4);
    return str_format("vm-%s", digits);
}
