/* SPDX-License-Identifier: Apache-2.0 */

/* A forward is the switch's, or of a VM that an earlier version started on the network user, QEMU's
 * own. */

#include "machine/ports.h"

#include <errno.h>

#include "base/clock.h"
#include "base/str.h"
#include "home/admission.h"
#include "home/inside.h"
#include "home/op_lock.h"
#include "home/row.h"
#include "home/spec.h"
#include "machine/look/describe.h"
#include "network/forwards.h"
#include "network/sleep.h"
#include "network/vm_ports.h"
#include "run/keeper_call.h"
#include "store/vms.h"

#define KEEPER_TIMEOUT_USEC (30 * USEC_PER_SEC)

static int tell_keeper(Home *home, const VmRow *row, const PortForward *forward, bool remove,
                       Error *error) {
    _cleanup_json_ json_t *request =
        json_pack("{s:s, s:b, s:{s:s, s:i, s:i, s:b}}", "op", "forward", "remove", remove,
                  "forward", "host_ip", forward->host_ip, "host_port", forward->host_port,
                  "guest_port", forward->guest_port, "udp", forward->udp);
    return vm_call_keeper(home, row, request, KEEPER_TIMEOUT_USEC, -1, error);
}

/* Who watches its doors has one more or less to watch. */
static int change_sleeping(Home *home, const VmRow *row, const PortForward *forward, bool remove,
                           Error *error) {
    int r = network_change_door(home, row, forward, remove, error);
    home_tend_changed(home);
    return r;
}

/* Where it runs, or sleeps. */
static int change(Home *home, const VmRow *row, const PortForward *forward, bool remove,
                  Error *error) {
    const VmCard *card = vm_spec_forward_card(&row->spec);
    if (row->state == STATE_STANDBY && row->runtime.timers.dozing)
        return change_sleeping(home, row, forward, remove, error);
    if (row->state != STATE_RUNNING && row->state != STATE_PAUSED)
        return 0;
    if (!network_has_port(row, (size_t)(card - row->spec.cards.items)))
        return tell_keeper(home, row, forward, remove, error);
    return remove ? network_remove_forward(home, row, forward, error)
                  : network_add_forward(home, row, forward, error);
}

/* Checked together with those that are there, by the same rules. */
static int add_to_spec(VmSpec *spec, const json_t *forward, Error *error) {
    _cleanup_json_ json_t *list = vm_spec_forwards_to_json(spec);
    PortForwards only = {.count = 1};
    (void)json_array_append(list, (json_t *)forward);
    spec->forwards.count = 0;
    int r = vm_spec_parse_forwards(list, spec, error);
    if (r < 0)
        return r;
    only.items[0] = spec->forwards.items[spec->forwards.count - 1];
    r = admission_pick_ports(&only, error);
    if (r >= 0)
        r = admission_check_ports(spec, &only, error);
    spec->forwards.items[spec->forwards.count - 1] = only.items[0];
    return r;
}

static int add_locked(Home *home, VmRow *row, const json_t *forward, Error *error) {
    int r = add_to_spec(&row->spec, forward, error);
    if (r < 0)
        return r;
    const PortForward *added = &row->spec.forwards.items[row->spec.forwards.count - 1];
    r = change(home, row, added, false, error);
    if (r < 0)
        return r;
    r = vms_update(home->store, row, error);
    if (r < 0)
        (void)change(home, row, added, true, NULL);
    return r;
}

int vm_port_add(Home *home, Operation *operation, const char *reference, const json_t *forward,
                json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r = row_lock(home, reference, "getting a port", operation->cancel_fd, &lock, &row, error);
    if (r >= 0)
        r = add_locked(home, &row, forward, error);
    return r < 0 ? r : vm_answer(home, &row, vm, error);
}

static int find(const VmRow *row, uint64_t host_port, bool udp, Error *error) {
    const PortForwards *forwards = &row->spec.forwards;
    for (size_t i = 0; i < forwards->count; i++)
        if (forwards->items[i].host_port == host_port && forwards->items[i].udp == udp)
            return (int)i;
    error_set(error, ERROR_NOT_FOUND, ENOENT, "%s port %llu does not lead to %s",
              udp ? "UDP" : "TCP", (unsigned long long)host_port, row->name);
    error_set_hint(error, "see ramet port ls %s", row->name);
    return -ENOENT;
}

static int remove_locked(Home *home, VmRow *row, uint64_t host_port, bool udp, Error *error) {
    _cleanup_error_ Error failure = ERROR_INIT;
    PortForwards *forwards = &row->spec.forwards;
    int index = find(row, host_port, udp, error);
    if (index < 0)
        return index;
    int r = change(home, row, &forwards->items[index], true, &failure);
    if (r < 0 && failure.kind != ERROR_NOT_FOUND)
        return error_move(error, &failure);
    for (size_t i = (size_t)index; i + 1 < forwards->count; i++)
        forwards->items[i] = forwards->items[i + 1];
    forwards->count--;
    return vms_update(home->store, row, error);
}

int vm_port_remove(Home *home, Operation *operation, const char *reference, uint64_t host_port,
                   bool udp, json_t **vm, Error *error) {
    _cleanup_op_lock_ OpLock *lock = NULL;
    _cleanup_vm_row_ VmRow row = {0};
    int r = row_lock(home, reference, "losing a port", operation->cancel_fd, &lock, &row, error);
    if (r >= 0)
        r = remove_locked(home, &row, host_port, udp, error);
    return r < 0 ? r : vm_answer(home, &row, vm, error);
}
