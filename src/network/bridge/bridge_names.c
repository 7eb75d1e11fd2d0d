/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/bridge_names.h"

#include <string.h>

#include "base/digest.h"
#include "base/str.h"

bool network_is_bridge(const NetworkRow *network) {
    return str_equal(network->data.backend, "bridge");
}

void bridge_names_of(const char *home_path, BridgeNames *names) {
    char hex[SHA256_HEX_SIZE];
    sha256_data(home_path, strlen(home_path), hex);
    (void)snprintf(names->home, sizeof(names->home), "%.16s", hex);
    (void)snprintf(names->table, sizeof(names->table), "ramet-%.8s", hex);
    (void)snprintf(names->tap_prefix, sizeof(names->tap_prefix), "rt%.6s", hex);
}

void bridge_device_name(const char *network_id, char name[IFNAMSIZ]) {
    (void)snprintf(name, IFNAMSIZ, "ramet%.8s", network_id);
}

void bridge_tap_name(const BridgeNames *names, char name[IFNAMSIZ]) {
    _cleanup_free_ char *digits = random_hex(4);
    (void)snprintf(name, IFNAMSIZ, "%s%.7s", names->tap_prefix, digits);
}

void bridge_card_use(const char *vm_id, size_t card, char use[BRIDGE_USE_SIZE]) {
    (void)snprintf(use, BRIDGE_USE_SIZE, "%.32s/%zu", vm_id, card);
}

void bridge_alias(const BridgeNames *names, const char *network_id, const char *use,
                  char alias[BRIDGE_ALIAS_SIZE]) {
    (void)snprintf(alias, BRIDGE_ALIAS_SIZE, "ramet %s %.32s %.47s", names->home, network_id, use);
}

bool bridge_alias_parse(const BridgeNames *names, const char *alias, char network_id[VM_ID_SIZE],
                        char use[BRIDGE_USE_SIZE]) {
    char home[17] = "", network[VM_ID_SIZE] = "", what[BRIDGE_USE_SIZE] = "";
    int end = 0;
    if (sscanf(alias, "ramet %16[0-9a-f] %32[0-9a-f] %47[0-9a-z/]%n", home, network, what, &end) !=
            3 ||
        alias[end] || !str_equal(home, names->home))
        return false;
    memcpy(network_id, network, sizeof(network));
    memcpy(use, what, sizeof(what));
    return true;
}
