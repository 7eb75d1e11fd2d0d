/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "keeper/keeper.h"
#include "proto/tlv.h"

/* What the agent is told to become. The order of the fields does not matter: the agent applies
 * entropy and clock first. Fields that are empty in the plan are left out. */

#define ENTROPY_BYTES 64
#define CLOCK_LIMIT_USEC 1000 /* smaller differences are not worth a step */

static void add_text(TlvWriter *writer, uint16_t tag, const char *text) {
    if (text[0])
        tlv_add_text(writer, tag, text);
}

static void add_flag(TlvWriter *writer, uint16_t tag, bool flag) {
    if (flag)
        tlv_add_u64(writer, tag, 1);
}

static void add_address(TlvWriter *writer, uint16_t tag, const char *text) {
    struct in_addr address;
    if (text[0] && inet_pton(AF_INET, text, &address) == 1)
        tlv_add(writer, tag, &address.s_addr, 4);
}

static void add_entropy(TlvWriter *writer) {
    uint8_t bytes[ENTROPY_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        abort(); /* cannot happen for up to 256 bytes */
    tlv_add(writer, TAG_ENTROPY, bytes, sizeof bytes);
    explicit_bzero(bytes, sizeof bytes);
}

static void add_network(TlvWriter *writer, const PlanIdentity *identity) {
    tlv_add(writer, TAG_MAC, identity->mac, sizeof identity->mac);
    if (!identity->ip[0])
        return;
    add_address(writer, TAG_IPV4, identity->ip);
    tlv_add_u64(writer, TAG_IPV4_PREFIX, identity->prefix);
    add_address(writer, TAG_IPV4_GATEWAY, identity->gateway);
    add_address(writer, TAG_DNS, identity->dns);
}

/* A VM that resumes is still itself. The hooks of a warm one wait for its name. */
static void add_self(TlvWriter *writer, const Plan *plan) {
    const PlanIdentity *identity = &plan->identity;
    add_text(writer, TAG_HOSTNAME, identity->hostname);
    add_text(writer, TAG_MACHINE_ID, identity->machine_id);
    add_text(writer, TAG_BOOT_ID, identity->boot_id);
    add_flag(writer, TAG_SSH_KEYS, identity->new_ssh_keys);
    add_flag(writer, TAG_HOOKS, identity->run_hooks && !plan->start_paused);
    add_flag(writer, TAG_GROW_ROOT, identity->grow_root);
}

/* Once the agent's own clock is known from its WELCOME, the time is exact however long it takes
 * until the agent reads this; before, it is near, and CLOCK follows (wake.c). */
void identity_add_clock(TlvWriter *writer, const Keeper *keeper) {
    uint64_t known = keeper->start.clock_pair.realtime_usec;
    tlv_add_u64(writer, TAG_REALTIME_USEC, known ? known : clock_realtime_usec());
    if (known)
        tlv_add_u64(writer, TAG_UPTIME_USEC, keeper->start.clock_pair.uptime_usec);
    tlv_add_u64(writer, TAG_LIMIT_USEC, CLOCK_LIMIT_USEC);
}

ssize_t identity_write(const Keeper *keeper, uint8_t *buffer, size_t room) {
    const Plan *plan = &keeper->plan;
    const PlanIdentity *identity = &plan->identity;
    TlvWriter writer;
    tlv_start(&writer, buffer, room);
    add_entropy(&writer);
    identity_add_clock(&writer, keeper);
    if (plan->network_card)
        add_network(&writer, identity);
    if (plan->boot == PLAN_BOOT_COLD || identity->clone)
        add_self(&writer, plan);
    return writer.overflow ? -E2BIG : (ssize_t)writer.size;
}
