/* SPDX-License-Identifier: Apache-2.0 */

#include "store/vm_runtime.h"

#include "base/str.h"
#include "store/row_fields.h"

#define FIELD(kind, name) ROW_FIELD(kind, VmRuntime, name)
#define TEXT(name) ROW_TEXT_FIELD(VmRuntime, name)
#define STRUCT(name, table) ROW_STRUCT_FIELD(VmRuntime, name, table)

static const RowField process_fields[] = {
    ROW_FIELD(ROW_INT, ProcessIdentity, pid),
    ROW_FIELD(ROW_U64, ProcessIdentity, start_ticks),
};

static json_t *write_addresses(const void *at) {
    const VmAddresses *addresses = at;
    json_t *list = json_array();
    for (size_t i = 0; i < addresses->count; i++) {
        const VmAddress *address = &addresses->items[i];
        (void)json_array_append_new(list, json_pack("{s:s, s:s, s:s}", "mac", address->mac, "ip",
                                                    address->ip, "ip6", address->ip6));
    }
    return list;
}

static void read_addresses(const json_t *json, void *at) {
    VmAddresses *addresses = at;
    const json_t *item;
    size_t i;
    json_array_foreach(json, i, item) {
        if (i == ARRAY_SIZE(addresses->items))
            return;
        VmAddress *address = &addresses->items[addresses->count++];
        str_set(address->mac, str_or_empty(json_string_value(json_object_get(item, "mac"))));
        str_set(address->ip, str_or_empty(json_string_value(json_object_get(item, "ip"))));
        str_set(address->ip6, str_or_empty(json_string_value(json_object_get(item, "ip6"))));
    }
}

static const RowType addresses_type = {write_addresses, read_addresses, NULL};

/* The root disk's stand in the runtime itself, as when there was no other. */
#define ROOT_TEXT(name, member)                                                                   \
    {                                                                                             \
        name, ROW_TEXT, offsetof(VmRuntime, root.member), sizeof(((VmDisk *)NULL)->member), NULL, \
            NULL                                                                                  \
    }

static const RowField fields[] = {
    FIELD(ROW_STRING, base),
    ROOT_TEXT("layer", layer),
    ROOT_TEXT("disk_file", file),
    {"disk_number", ROW_U64, offsetof(VmRuntime, root.number), 0, NULL, NULL},
    {"freezing", ROW_STRUCT, offsetof(VmRuntime, root.freezing), ARRAY_SIZE(vm_freezing_fields),
     vm_freezing_fields, NULL},
    ROW_TYPE_FIELD(VmRuntime, disks, vm_disks_type),
    TEXT(kernel_key),
    TEXT(initramfs_key),
    TEXT(hostname),
    TEXT(machine_id),
    TEXT(ssh_host_key),
    TEXT(ip),
    TEXT(ip6),
    ROW_TYPE_FIELD(VmRuntime, further, addresses_type),
    TEXT(guest_macs),
    STRUCT(impair, impairment_fields),
    TEXT(hidden),
    STRUCT(timers, vm_timers_fields),
    FIELD(ROW_BOOL, half_run),
    FIELD(ROW_BOOL, has_cgroup),
    STRUCT(keeper, process_fields),
    STRUCT(qemu, process_fields),
    TEXT(boot),
    TEXT(accel),
    TEXT(machine),
    TEXT(network_device),
    FIELD(ROW_BOOL, user_switched),
    TEXT(agent_version),
    STRUCT(facts, snapshot_facts_fields),
    FIELD(ROW_JSON, held),
    FIELD(ROW_JSON, stages),
    FIELD(ROW_JSON, exit),
    FIELD(ROW_JSON, error),
    FIELD(ROW_JSON, fallback),
    FIELD(ROW_JSON, program),
    FIELD(ROW_BOOL, silent),
    FIELD(ROW_BOOL, no_room),
    FIELD(ROW_STRING, memory_base),
    FIELD(ROW_U64, memory_inode),
    TEXT(memory_snapshot),
    TEXT(memory_owner),
    FIELD(ROW_BOOL, memory_adopted),
    FIELD(ROW_U64, warm_bytes),
    TEXT(standby),
    {"standby_disk", ROW_STRUCT, offsetof(VmRuntime, root.stamp), ARRAY_SIZE(file_stamp_fields),
     file_stamp_fields, NULL},
    FIELD(ROW_BOOL, standing_by),
    ROW_UNKNOWN_FIELD(VmRuntime, unknown),
};

json_t *vm_runtime_to_json(const VmRuntime *runtime) {
    return row_fields_write(fields, ARRAY_SIZE(fields), runtime, NULL);
}

void vm_runtime_from_json(const json_t *json, VmRuntime *runtime) {
    (void)row_fields_read(fields, ARRAY_SIZE(fields), runtime, json);
}

void vm_runtime_free(VmRuntime *runtime) {
    row_fields_free(fields, ARRAY_SIZE(fields), runtime);
    *runtime = (VmRuntime){0};
}
