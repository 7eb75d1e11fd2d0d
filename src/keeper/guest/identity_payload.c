/* SPDX-License-Identifier: Apache-2.0 */
#include "keeper/guest/identity_payload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "proto/agent.h"

/* The order of the fields does not matter: the agent applies
 * entropy and clock first. Fields that are empty in the plan are left out. */

#define ENTROPY_BYTES 64
#define CARD_BYTES_MAX 256
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
    if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
        abort(); /* cannot happen for up to 256 bytes */
    tlv_add(writer, TAG_ENTROPY, bytes, sizeof(bytes));
    explicit_bzero(bytes, sizeof(bytes));
}

/* Other than that of any other VM, and of any other start. */
static void add_generation(TlvWriter *writer) {
    uint8_t id[16];
    if (getrandom(id, sizeof(id), 0) != (ssize_t)sizeof(id))
        abort(); /* cannot happen for up to 256 bytes */
    tlv_add(writer, TAG_GENERATION, id, sizeof(id));
}

static void add_address6(TlvWriter *writer, uint16_t tag, const char *text) {
    struct in6_addr address;
    if (text[0] && inet_pton(AF_INET6, text, &address) == 1)
        tlv_add(writer, tag, &address, sizeof(address));
}

static void add_card(TlvWriter *writer, const PlanAddress *card) {
    tlv_add(writer, TAG_MAC, card->mac, sizeof(card->mac));
    if (card->ip[0]) {
        add_address(writer, TAG_IPV4, card->ip);
        tlv_add_u64(writer, TAG_IPV4_PREFIX, card->prefix);
        add_address(writer, TAG_IPV4_GATEWAY, card->gateway);
    }
    if (card->ip6[0]) {
        add_address6(writer, TAG_IPV6, card->ip6);
        tlv_add_u64(writer, TAG_IPV6_PREFIX, card->prefix6);
        add_address6(writer, TAG_IPV6_GATEWAY, card->gateway6);
    }
}

/* An agent that knows of one card leaves the others' field out. */
static void add_networks(TlvWriter *writer, const PlanIdentity *identity) {
    uint8_t buffer[CARD_BYTES_MAX];
    add_card(writer, &identity->first);
    add_address(writer, TAG_DNS, identity->dns);
    for (size_t i = 0; i < identity->n_further_dns; i++)
        add_address(writer, TAG_DNS, identity->further_dns[i]);
    add_text(writer, TAG_SEARCH, identity->search);
    for (size_t i = 0; i < identity->n_further; i++) {
        TlvWriter card;
        tlv_start(&card, buffer, sizeof(buffer));
        add_card(&card, &identity->further[i]);
        tlv_add(writer, TAG_CARD, buffer, card.size);
    }
}

/* Of a guest that was not told by its kernel's command line. */
static void add_mounts(TlvWriter *writer, const char *lines) {
    char line[256];
    for (; *lines; lines += strcspn(lines, "\n"), lines += *lines == '\n') {
        size_t n = strcspn(lines, "\n");
        (void)snprintf(line, sizeof(line), "%.*s", (int)n, lines);
        add_text(writer, TAG_MOUNT, line);
    }
}

/* A VM that resumes is still itself, and so is, but for that, a clone that keeps its names. The
 * hooks of a warm one wait for its name. */
static void add_self(TlvWriter *writer, const Plan *plan) {
    const PlanIdentity *identity = &plan->identity;
    add_text(writer, TAG_BOOT_ID, identity->boot_id);
    if (identity->keep)
        return;
    add_text(writer, TAG_HOSTNAME, identity->hostname);
    add_text(writer, TAG_MACHINE_ID, identity->machine_id);
    add_text(writer, TAG_HOME_KEY, identity->home_key);
    add_text(writer, TAG_LOGINS, identity->authorized_keys);
    add_text(writer, TAG_LOGIN_USER, identity->login_user);
    add_flag(writer, TAG_SSH_KEYS, identity->new_ssh_keys);
    if (identity->new_ssh_keys) {
        add_text(writer, TAG_SSH_KEY, identity->ssh_key);
        add_text(writer, TAG_SSH_PUBLIC_KEY, identity->ssh_public_key);
    }
    add_flag(writer, TAG_HOOKS, identity->run_hooks && !plan->start_paused);
    add_flag(writer, TAG_RESIZE_ROOT, identity->grow_root);
}

/* Once the agent's own clock is known from its WELCOME, the time is exact however long it takes
 * until the agent reads this; before, it is near, and CLOCK follows (handshake.c). */
void identity_payload_add_clock(TlvWriter *writer, const ClockPair *clock) {
    uint64_t known = clock->realtime_usec;
    tlv_add_u64(writer, TAG_REALTIME_USEC, known ? known : clock_realtime_usec());
    if (known)
        tlv_add_u64(writer, TAG_UPTIME_USEC, clock->uptime_usec);
    tlv_add_u64(writer, TAG_LIMIT_USEC, CLOCK_LIMIT_USEC);
}

ssize_t identity_payload_write(const Plan *plan, const ClockPair *clock, uint8_t *buffer,
                               size_t room) {
    const PlanIdentity *identity = &plan->identity;
    TlvWriter writer;
    tlv_start(&writer, buffer, room);
    add_entropy(&writer);
    identity_payload_add_clock(&writer, clock);
    if (plan->kernel_only) {
        add_text(&writer, TAG_CMDLINE, plan->cmdline ? plan->cmdline : "");
        return writer.overflow ? -E2BIG : (ssize_t)writer.size;
    }
    add_generation(&writer);
    if (plan->n_cards > 0 && !identity->keep)
        add_networks(&writer, identity);
    if (plan->boot == PLAN_BOOT_COLD || identity->clone)
        add_self(&writer, plan);
    if (plan->boot == PLAN_BOOT_COLD)
        add_mounts(&writer, identity->mounts);
    add_text(&writer, TAG_CHANGED_DISK, identity->changed_disk);
    return writer.overflow ? -E2BIG : (ssize_t)writer.size;
}
