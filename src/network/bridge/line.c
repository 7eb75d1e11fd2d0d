/* SPDX-License-Identifier: Apache-2.0 */

#include "network/bridge/line.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/str.h"
#include "network/bridge/link.h"
#include "network/bridge/qdisc_message.h"

#define KIND "ifb"
#define USE "line"

/* ---- names ---- */

/* As the card's, with another letter: "ri1a2b3c…" of "rt1a2b3c…". */
static void name_of(const char *tap, char name[IFNAMSIZ]) {
    (void)snprintf(name, IFNAMSIZ, "ri%s", tap + strlen("rt"));
}

void line_card_name(const Tap *tap, char name[IFNAMSIZ]) {
    name_of(tap->name, name);
}

void line_network_name(const BridgeNames *names, const char *network_id, char name[IFNAMSIZ]) {
    char tap[IFNAMSIZ];
    (void)snprintf(tap, sizeof(tap), "%s%.7s", names->tap_prefix, network_id);
    name_of(tap, name);
}

/* One that was made and not yet given its alias, as the daemon ended, has the name only. */
bool line_is_of_home(const BridgeNames *names, const Link *link) {
    char prefix[IFNAMSIZ], network[VM_ID_SIZE], use[BRIDGE_USE_SIZE];
    name_of(names->tap_prefix, prefix);
    if (!str_equal(link->kind, KIND))
        return false;
    if (!*link->alias)
        return str_has_prefix(link->name, prefix);
    return bridge_alias_parse(names, link->alias, network, use) && str_equal(use, USE);
}

/* ---- queues ---- */

static int clear_queue(unsigned index) {
    char buffer[LINK_MESSAGE_SIZE];
    int r = link_tell(qdisc_message_no_line(buffer, index));
    return r == -ENOENT || r == -EINVAL ? 0 : r;
}

static int set_queue(unsigned index, const ShapeLine *line) {
    char buffer[LINK_MESSAGE_SIZE];
    return shape_line_is_none(line) ? clear_queue(index)
                                    : link_tell(qdisc_message_line(buffer, index, line));
}

/* What comes into the device passes the other one first; 0: none. */
static int lead_to(unsigned index, unsigned to) {
    char buffer[LINK_MESSAGE_SIZE];
    int r = link_tell(qdisc_message_no_ingress(buffer, index));
    if (r < 0 && r != -ENOENT && r != -EINVAL && r != -EOPNOTSUPP)
        return r;
    if (!to)
        return 0;
    r = link_tell(qdisc_message_ingress(buffer, index));
    return r < 0 ? r : link_tell(qdisc_message_redirect(buffer, index, to));
}

/* ---- ifb devices ---- */

static int find(const BridgeNames *names, const char *name, unsigned *index) {
    Link link;
    int r = link_get(name, &link);
    if (r == 0 && !line_is_of_home(names, &link))
        r = -EEXIST;
    if (r == 0)
        *index = link.index;
    return r;
}

/* One that is there is used again. */
static int make(const BridgeNames *names, const char *network_id, const char *name,
                const ShapeLine *line, unsigned *index) {
    char buffer[LINK_MESSAGE_SIZE], alias[BRIDGE_ALIAS_SIZE];
    unsigned found = 0;
    bridge_alias(names, network_id, USE, alias);
    int r = find(names, name, &found);
    if (r == -ENODEV)
        r = link_tell(link_message_new(buffer, name, KIND));
    if (r == 0 && !found)
        r = find(names, name, &found);
    if (r == 0)
        r = set_queue(found, line);
    if (r == 0)
        r = link_change(found, &(LinkChange){.alias = alias, .up = true});
    if (r == 0)
        *index = found;
    return r;
}

void line_remove(const char *name) {
    unsigned index = if_nametoindex(name);
    if (index)
        (void)link_delete(index);
}

int line_set_network(const BridgeNames *names, const char *network_id, const ShapeLine *line) {
    char name[IFNAMSIZ];
    unsigned index;
    line_network_name(names, network_id, name);
    if (!shape_line_is_none(line))
        return make(names, network_id, name, line, &index);
    int r = find(names, name, &index);
    return r == 0 ? link_delete(index) : 0;
}

/* ---- a card ---- */

int line_set_card(const BridgeNames *names, const Tap *tap) {
    const Shape *shape = &tap->shape;
    char own[IFNAMSIZ], shared[IFNAMSIZ];
    bool has_own = !shape_line_is_none(&shape->out);
    unsigned to = 0;
    line_card_name(tap, own);
    line_network_name(names, tap->network, shared);
    int r = set_queue(tap->index, &shape->in);
    if (r == 0 && has_own)
        r = make(names, tap->network, own, &shape->out, &to);
    else if (r == 0 && shape->shares)
        r = find(names, shared, &to);
    if (r == 0)
        r = lead_to(tap->index, to);
    if (!has_own)
        line_remove(own);
    return r;
}

/* ---- the probe ---- */

static int explain(int r, const ShapeLine *line, Error *error) {
    const char *lacks = shape_line_waits(line) ? "netem, ifb, act_mirred or cls_u32"
                                               : "sch_tbf, ifb, act_mirred or cls_u32";
    if (r != -ENOENT && r != -EOPNOTSUPP && r != -EINVAL)
        return error_set_errno(error, -r, "cannot try a line of a bridge");
    error_set(error, ERROR_UNSUPPORTED, ENOTSUP, "this kernel lacks %s, which bridges need for %s",
              lacks, shape_line_waits(line) ? "latency" : "a rate");
    error_set_hint(error, "ramet network create --backend switch makes a network that needs none");
    return -ENOTSUP;
}

int line_probe(const BridgeNames *names, const ShapeLine *line, Error *error) {
    static const char nobody[VM_ID_SIZE] = "00000000000000000000000000000000";
    _cleanup_close_ int fd = -1;
    char own[IFNAMSIZ];
    Tap tap = {.fd = -1, .shape = {.in = *line, .out = *line}};
    bridge_tap_name(names, tap.name);
    str_set(tap.network, nobody);
    int r = link_make_tap(tap.name, &fd, &tap.index);
    if (r < 0)
        return error_set_errno(error, -r, "cannot make a TAP device");
    r = line_set_card(names, &tap);
    line_card_name(&tap, own);
    line_remove(own);
    return r < 0 ? explain(r, line, error) : 0;
}
