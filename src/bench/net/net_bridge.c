/* SPDX-License-Identifier: Apache-2.0 */

/* How it works: a thread goes into a network namespace of its own, and makes there what the daemon
 * makes for 1,000 VMs on one bridge, without QEMU: TAP devices, their rules, a forward each. Each
 * step is timed; the first hundred and the last stand beside each other. With all of them present a
 * forward comes and goes, by the library as the daemon has it and by running nft(8), in turn. */

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "bench/net/net_parts.h"
#include "network/bridge/link.h"
#include "network/bridge/nft.h"
#include "network/bridge/rules.h"

#define CARDS 1000u
#define NFT_TIMEOUT_USEC (60 * USEC_PER_SEC)
#define GROUP 100u /* the first and the last so many are compared */
#define CHANGES 100u
#define ASKED_CHANGE_USEC 2000
#define ASKED_TAP_USEC 3000
#define ASKED_GROWTH 1.5
#define ASKED_SHARE 0.1 /* of what nft(8) takes */
#define NETWORK "00000000000000000000000000000001"

typedef struct Card {
    char tap[IFNAMSIZ];
    unsigned index;
    int fd; /* owned */
} Card;

/* Of a group of cards. */
typedef struct CardTimes {
    Samples made, taken, attached, all;
} CardTimes;

typedef struct Rig {
    Bench *bench; /* borrowed */
    Error *error; /* borrowed */
    int result;
    BridgeNames names;
    unsigned bridge;
    Nft *nft; /* owned */
    Card cards[CARDS];
    CardTimes first, last;
    Samples removed, change, program;
} Rig;

static double since(uint64_t start_usec) {
    return (double)(clock_monotonic_usec() - start_usec);
}

static int failed(Rig *rig, int r, const char *what) {
    return error_set_errno(rig->error, -r, "cannot %s", what);
}

/* ---- what a VM has ---- */

static VmAddress address_of(size_t i) {
    VmAddress address;
    (void)snprintf(address.mac, sizeof(address.mac), "52:54:00:00:%02x:%02x", (unsigned)(i >> 8),
                   (unsigned)(i & 0xff));
    (void)snprintf(address.ip, sizeof(address.ip), "10.77.%u.%u", (unsigned)(i >> 8),
                   (unsigned)(i & 0xff));
    (void)snprintf(address.ip6, sizeof(address.ip6), "fd00::%x", (unsigned)i + 16);
    return address;
}

static PortForward forward_of(size_t i) {
    return (PortForward){
        .host_ip = "0.0.0.0", .host_port = (uint16_t)(20000 + i), .guest_port = 80};
}

static int make_device(Rig *rig, Card *card) {
    bridge_tap_name(&rig->names, card->tap);
    int r = link_make_tap(card->tap, &card->fd, &card->index);
    if (r == 0)
        r = link_change(card->index, &(LinkChange){.alias = "pool", .master = rig->bridge});
    return r < 0 ? failed(rig, r, "make a TAP device") : 0;
}

static int attach(Rig *rig, size_t i) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    VmAddress address = address_of(i);
    PortForward forward = forward_of(i);
    rules_add_card(rig->names.table, rig->cards[i].tap, &address, &text);
    rules_add_forward(rig->names.table, &forward, address.ip, &text);
    int r = nft_run(rig->nft, text.data, rig->error);
    if (r < 0)
        return r;
    r = link_change(rig->cards[i].index, &(LinkChange){.up = true});
    return r < 0 ? failed(rig, r, "set a TAP device up") : 0;
}

static void note_card(CardTimes *times, uint64_t start, uint64_t made, uint64_t taken) {
    samples_add(&times->all, since(start));
    samples_add(&times->made, (double)(made - start));
    samples_add(&times->taken, (double)(taken - made));
    samples_add(&times->attached, since(taken));
}

static int add_card(Rig *rig, size_t i) {
    uint64_t start = clock_monotonic_usec(), made, taken;
    int r = make_device(rig, &rig->cards[i]);
    if (r < 0)
        return r;
    made = clock_monotonic_usec();
    r = link_change(rig->cards[i].index, &(LinkChange){.alias = "card"});
    taken = clock_monotonic_usec();
    if (r == 0)
        r = attach(rig, i);
    if (r < 0)
        return r;
    if (i < GROUP)
        note_card(&rig->first, start, made, taken);
    if (i >= CARDS - GROUP)
        note_card(&rig->last, start, made, taken);
    return 0;
}

static int remove_card(Rig *rig, size_t i) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    uint64_t start = clock_monotonic_usec();
    VmAddress address = address_of(i);
    PortForward forward = forward_of(i);
    rules_remove_card(rig->names.table, rig->cards[i].tap, &address, &text);
    rules_remove_forward(rig->names.table, &forward, address.ip, &text);
    int r = nft_run(rig->nft, text.data, rig->error);
    rig->cards[i].fd = fd_close(rig->cards[i].fd);
    if (i < GROUP)
        samples_add(&rig->removed, since(start));
    return r;
}

/* ---- a change among all of them ---- */

static int run_nft(Rig *rig, const char *command) {
    char *argv[] = {(char *)"nft", (char *)command, NULL};
    const SpawnOptions options = {.program = "nft", .argv = argv};
    return spawn_run(&options, NFT_TIMEOUT_USEC, -1, NULL, rig->error);
}

static int change_both_ways(Rig *rig, size_t i) {
    _cleanup_(strbuf_free) StrBuf library = {0}, program = {0};
    PortForward forward = forward_of(CARDS + 2 * i), other = forward_of(CARDS + 2 * i + 1);
    rules_add_forward(rig->names.table, &forward, "10.77.0.9", &library);
    rules_add_forward(rig->names.table, &other, "10.77.0.9", &program);
    uint64_t start = clock_monotonic_usec();
    int r = nft_run(rig->nft, library.data, rig->error);
    samples_add(&rig->change, since(start));
    if (r < 0)
        return r;
    start = clock_monotonic_usec();
    r = run_nft(rig, program.data);
    samples_add(&rig->program, since(start));
    return r;
}

/* ---- all ---- */

static int set_up(Rig *rig) {
    _cleanup_(strbuf_free) StrBuf text = {0};
    const uint8_t mac[6] = {2, 0x52, 0, 0, 0, 1};
    NetworkRow network = {.data = {.gateway = "10.77.255.1", .gateway6 = "fd00::1"}};
    char device[IFNAMSIZ];
    bridge_device_name(NETWORK, device);
    int r = unshare(CLONE_NEWNET) < 0 ? -errno : link_make_bridge(device, mac, &rig->bridge);
    if (r == 0)
        r = link_change(rig->bridge, &(LinkChange){.up = true});
    if (r < 0)
        return failed(rig, r, "make a bridge in a namespace");
    r = nft_open(&rig->nft, rig->error);
    rules_add_tables(rig->names.table, rig->names.tap_prefix, &text);
    rules_add_network(rig->names.table, &network, device, &text);
    return r < 0 ? r : nft_run(rig->nft, text.data, rig->error);
}

static int measure(Rig *rig) {
    int r = set_up(rig);
    for (size_t i = 0; r >= 0 && i < CARDS; i++)
        r = bench_cancelled(rig->bench) ? -ECANCELED : add_card(rig, i);
    for (size_t i = 0; r >= 0 && i < CHANGES; i++)
        r = change_both_ways(rig, i);
    for (size_t i = 0; r >= 0 && i < CARDS; i++)
        r = remove_card(rig, i);
    return r;
}

static void *measure_thread(void *data) {
    Rig *rig = data;
    rig->result = measure(rig);
    nft_close(rig->nft);
    for (size_t i = 0; i < CARDS; i++)
        (void)fd_close(rig->cards[i].fd);
    return NULL;
}

static void report_card(BenchReport *to, const CardTimes *first, const CardTimes *last) {
    report_add_bound(to, &first->made, ASKED_TAP_USEC);
    report_add_ratio(to, &last->made, &first->made, 0, 0);
    report_add(to, &last->taken);
    report_add(to, &first->attached);
    report_add_ratio(to, &last->attached, &first->attached, 0, 0);
    report_add(to, &first->all);
    report_add_ratio(to, &last->all, &first->all, ASKED_GROWTH, 0);
}

static void report(Rig *rig) {
    BenchReport *made = rig->bench->report;
    report_card(made, &rig->first, &rig->last);
    report_add(made, &rig->removed);
    report_add(made, &rig->program);
    report_add_bound(made, &rig->change, ASKED_CHANGE_USEC);
    rig->change.name = "the same, beside nft(8)";
    report_add_ratio(made, &rig->change, &rig->program, ASKED_SHARE, 0);
}

static void name_samples(Rig *rig) {
    CardTimes *first = &rig->first, *last = &rig->last;
    first->made = (Samples){.name = "TAP device made cold, 1st to 100th", .unit = "us"};
    last->made = (Samples){.name = "the same, 901st to 1,000th", .unit = "us"};
    last->taken = (Samples){.name = "TAP device of the pool becomes a card", .unit = "us"};
    first->attached = (Samples){.name = "card attached: rules, forward, link", .unit = "us"};
    last->attached = (Samples){.name = "the same, 901st to 1,000th", .unit = "us"};
    first->all = (Samples){.name = "all of a card, 1st to 100th", .unit = "us"};
    last->all = (Samples){.name = "the same, 901st to 1,000th", .unit = "us"};
    first->made.label = first->attached.label = first->all.label = "first";
    rig->removed = (Samples){.name = "card removed", .unit = "us"};
    rig->change = (Samples){.name = "nftables change with 1,000 cards", .unit = "us"};
    rig->program = (Samples){.name = "the same by running nft(8)", .label = "nft", .unit = "us"};
}

int bench_net_bridge(Bench *bench, Error *error) {
    Rig *rig = calloc(1, sizeof(*rig));
    pthread_t thread;
    if (!rig)
        abort();
    if (geteuid() != 0) {
        report_note(bench->report, "bridge: not measured, it wants root");
        free(rig);
        return 0;
    }
    rig->bench = bench;
    rig->error = error;
    for (size_t i = 0; i < CARDS; i++)
        rig->cards[i].fd = -1;
    bridge_names_of("/bench", &rig->names);
    name_samples(rig);
    int r = -pthread_create(&thread, NULL, measure_thread, rig);
    if (r == 0) {
        (void)pthread_join(thread, NULL);
        r = rig->result;
    }
    if (r >= 0)
        report(rig);
    free(rig);
    return r;
}
