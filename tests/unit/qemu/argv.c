/* SPDX-License-Identifier: Apache-2.0 */

#include "qemu/argv.h"
#include "qemu/machine.h"

#include <errno.h>

#include "check.h"

static char binary[] = "/usr/bin/qemu", command_line[] = "quiet a=b,c";
static const QemuSockets sockets = {.qmp = 30, .agent = 31, .console = 32};

/* What the tests vary: a TCG VM with a disk of two files and a card. */
static void fill(Plan *plan) {
    plan_init(plan);
    plan->qemu = binary;
    strcpy(plan->accel, "tcg");
    strcpy(plan->machine, "microvm");
    strcpy(plan->cpu, "qemu64");
    plan->memory_bytes = 256 * MIB;
    plan->cpus = 2;
    plan->memory_fd = 10;
    plan->n_disks = 1;
    strcpy(plan->disks[0].serial, "root");
    plan->disks[0].n_files = 2;
    plan->disks[0].files[0] = (PlanDiskFile){.fd = 11, .fd_write = 12, .format = "qcow2"};
    plan->disks[0].files[1] = (PlanDiskFile){.fd = 13, .fd_write = -1, .format = "raw"};
    plan->n_cards = 1;
    memcpy(plan->cards[0].mac, "\x52\x54\x00\x01\x02\xff", 6);
    plan->cards[0].network = PLAN_NETWORK_DGRAM;
    plan->cards[0].fd = 40;
    plan->kernel_fd = 20;
    plan->initrd_fd = 21;
    plan->cmdline = command_line;
}

static char *build(const Plan *plan) {
    StrList argv = {0};
    StrBuf text = {0};
    Error error = ERROR_INIT;
    CHECK_INT(qemu_build_argv(plan, &sockets, &argv, &error), 0);
    for (size_t i = 0; i < argv.count; i++) {
        strbuf_add_text(&text, argv.items[i]);
        strbuf_add_text(&text, "\n");
    }
    strlist_free(&argv);
    return strbuf_steal(&text);
}

#define GOLDEN_HEAD(accel, cpu)                                                       \
    "/usr/bin/"                                                                       \
    "qemu\n-M\nmicrovm,auto-kernel-cmdline=off,suppress-vmdesc=on,memory-"            \
    "backend=ram0\n"                                                                  \
    "-accel\n" accel "\n-cpu\n" cpu                                                   \
    "\n-smp\n2\n-m\n256M\n-nodefaults\n-no-user-config\n-no-reboot\n-display\nnone\n" \
    "-sandbox\non,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny\n"

#define GOLDEN_MEMORY(more)                                                  \
    "-object\nmemory-backend-file,id=ram0,size=256M,mem-path=/proc/self/fd/" \
    "10,share=off,merge=off" more "\n"

#define GOLDEN_SOCKETS                                                            \
    "-chardev\nsocket,id=qmp,fd=30\n-mon\nchardev=qmp,mode=control\n"             \
    "-chardev\nsocket,id=console,fd=32\n-serial\nchardev:console\n"               \
    "-chardev\nsocket,id=agent,fd=31\n-device\nvirtio-serial-device,id=serial0\n" \
    "-device\nvirtserialport,id=agent0,bus=serial0.0,chardev=agent,name=org.ramet.agent.0\n"

#define GOLDEN_DISK                                                                              \
    "-add-fd\nfd=11,set=1\n-add-fd\nfd=12,set=1\n-add-fd\nfd=13,set=2\n-blockdev\n"              \
    "{\"driver\":\"qcow2\",\"node-name\":\"disk0-0\",\"read-only\":false,\"discard\":\"unmap\"," \
    "\"file\":{\"driver\":\"file\",\"filename\":\"/dev/fdset/"                                   \
    "1\",\"locking\":\"auto\",\"discard\":\"unmap\"},"                                           \
    "\"detect-zeroes\":\"unmap\","                                                               \
    "\"backing\":{\"driver\":\"raw\",\"node-name\":\"disk0-1\",\"read-only\":true,\"discard\":"  \
    "\"ignore\","                                                                                \
    "\"file\":{\"driver\":\"file\",\"filename\":\"/dev/fdset/"                                   \
    "2\",\"locking\":\"off\",\"discard\":\"ignore\"}}}\n"                                        \
    "-device\nvirtio-blk-device,id=disk0,drive=disk0-0,serial=root\n"

#define GOLDEN_MAC "mac=52:54:00:01:02:ff\n"
#define GOLDEN_CARD                                       \
    "-netdev\ndgram,id=net0,local.type=fd,local.str=40\n" \
    "-device\nvirtio-net-device,id=nic0,netdev=net0,guest_announce=off," GOLDEN_MAC

#define GOLDEN_COLD                                                                              \
    "-global\nmigration.send-configuration=off\n-kernel\n/proc/self/fd/20\n-initrd\n/proc/self/" \
    "fd/21\n"                                                                                    \
    "-append\nquiet a=b,c\n"

static void test_tcg(void) {
    Plan plan;
    _cleanup_free_ char *text = NULL;
    fill(&plan);
    text = build(&plan);
    CHECK_STR(text, GOLDEN_HEAD("tcg,thread=multi", "qemu64") GOLDEN_MEMORY("")
                        GOLDEN_SOCKETS GOLDEN_DISK GOLDEN_CARD GOLDEN_COLD);
}

static void test_kvm_rom(void) {
    Plan plan;
    _cleanup_free_ char *text = NULL;
    fill(&plan);
    strcpy(plan.accel, "kvm");
    strcpy(plan.cpu, "host,only");
    plan.memory_readonly_rom = true;
    text = build(&plan);
    CHECK_STR(text, GOLDEN_HEAD("kvm", "host,only") GOLDEN_MEMORY(",readonly=on,rom=off")
                        GOLDEN_SOCKETS GOLDEN_DISK GOLDEN_CARD GOLDEN_COLD);
}

/* What software emulation alone needs (docs/emulated.md), in any argument. */
static void expect_nothing_emulated(const Plan *plan) {
    static const char *const words[] = {"tcg",         "thread=", "qemu64", "arat",
                                        "mitigations", "iomem",   "tsc",    "tb-size"};
    _cleanup_free_ char *text = build(plan);
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        CHECK(!strstr(text, words[i]));
    CHECK_CONTAINS(text, "\n-accel\nkvm\n");
    CHECK_CONTAINS(text, "\n-cpu\nhost");
}

static void test_kvm_has_nothing_of_emulation(void) {
    Plan plan;
    _cleanup_free_ char *text = NULL;
    fill(&plan);
    plan.cpu[0] = '\0';
    plan.cmdline = NULL;
    text = build(&plan); /* the words are those that are used */
    CHECK_CONTAINS(text, "tcg,thread=multi\n-cpu\nqemu64,+arat\n");
    CHECK_CONTAINS(text, "mitigations=off iomem=relaxed");
    strcpy(plan.accel, "kvm");
    expect_nothing_emulated(&plan);
    plan.boot = PLAN_BOOT_RESTORE;
    plan.kernel_fd = plan.initrd_fd = -1;
    expect_nothing_emulated(&plan);
}

static void test_restore(void) {
    Plan plan;
    _cleanup_free_ char *text = NULL;
    fill(&plan);
    plan.boot = PLAN_BOOT_RESTORE;
    plan.kernel_fd = plan.initrd_fd = -1;
    text = build(&plan);
    CHECK_STR(text, GOLDEN_HEAD("tcg,thread=multi", "qemu64") GOLDEN_MEMORY("")
                        GOLDEN_SOCKETS GOLDEN_DISK GOLDEN_CARD
              "-global\nmigration.send-configuration=off\n"
              "-device\nloader,addr=0xffff0,data-len=7,data=0xcc00001e010f2e\n"
              "-incoming\ndefer\n");
}

/* Without a cable the card is still there: the device list must not depend on the network. */
static void test_no_network(void) {
    Plan plan;
    _cleanup_free_ char *cable = NULL, *card = NULL;
    fill(&plan);
    plan.cards[0].network = PLAN_NETWORK_NONE;
    cable = build(&plan);
    CHECK_CONTAINS(cable, "-device\nvirtio-net-device,id=nic0,guest_announce=off,mac=");
    CHECK(!strstr(cable, "netdev"));
    plan.n_cards = 0;
    card = build(&plan);
    CHECK(!strstr(card, "virtio-net"));
}

static void test_tap(void) {
    Plan plan;
    _cleanup_free_ char *text = NULL;
    fill(&plan);
    plan.cards[0].network = PLAN_NETWORK_TAP;
    plan.cards[0].fd = 40;
    text = build(&plan);
    CHECK_CONTAINS(text, "-netdev\ntap,id=net0,fd=40,vhost=off\n-device\nvirtio-net-device,id=nic0,"
                         "netdev=net0,guest_announce=off,");
}

/* Two cards, and what the state of a clone wants beside the network that it is in. */
static void test_dgram(void) {
    Plan plan;
    _cleanup_free_ char *text = NULL, *clone = NULL;
    fill(&plan);
    plan.n_cards = 2;
    plan.cards[1] = (PlanCard){.network = PLAN_NETWORK_DGRAM, .fd = 41, .peer_fd = PLAN_NO_FD};
    text = build(&plan);
    CHECK_CONTAINS(text, GOLDEN_CARD "-netdev\ndgram,id=net1,local.type=fd,local.str=41\n-device\n"
                                     "virtio-net-device,id=nic1,netdev=net1,guest_announce=off,");
    plan.cards[1].user_state = true;
    clone = build(&plan);
    CHECK_CONTAINS(clone, "-netdev\nuser,id=state1,net=10.0.2.0/24,ipv6=off,restrict=on\n-netdev\n"
                          "dgram,id=net1,");
}

/* A chain that ends in a qcow2 must not follow that file's own idea of its backing file. */
static void test_closed_chain(void) {
    Plan plan;
    _cleanup_free_ char *text = NULL;
    fill(&plan);
    plan.disks[0].n_files = 1;
    text = build(&plan);
    CHECK_CONTAINS(text, "\"detect-zeroes\":\"unmap\",\"backing\":null}");
}

static void test_read_only_disk(void) {
    Plan plan;
    _cleanup_free_ char *text = NULL;
    fill(&plan);
    plan.disks[0].read_only = true;
    plan.disks[0].files[0].fd_write = -1;
    text = build(&plan);
    CHECK_CONTAINS(text, "\"node-name\":\"disk0-0\",\"read-only\":true,\"discard\":\"ignore\"");
    CHECK(!strstr(text, "unmap"));
}

static void test_defaults(void) {
    CHECK(str_has_prefix(qemu_default_cpu("kvm"), "host"));
    CHECK_CONTAINS(qemu_default_cmdline("tcg"), "console=ttyS0");
    CHECK(!strstr(qemu_default_cmdline("kvm"), "tsc_early_khz"));
    CHECK_CONTAINS(qemu_default_cmdline("tcg"), "mitigations=off");
    CHECK(!strstr(qemu_default_cmdline("kvm"), "mitigations"));
    CHECK(qemu_default_cmdline("tcg") == qemu_default_cmdline("tcg"));
    CHECK(!qemu_machine_options("pc", "tcg"));
    CHECK_STR(qemu_machine_for(1, 6), "microvm-8");
    CHECK_STR(qemu_machine_for(2, 6), "microvm");
    CHECK_CONTAINS(qemu_machine_options("microvm-8", "kvm"), "ioapic2=off");
    CHECK(!strstr(qemu_machine_options("microvm", "kvm"), "ioapic2"));
    CHECK_STR(qemu_machine_with(qemu_machine_options("microvm-8", "tcg"), "tcg"), "microvm-8");
    CHECK_STR(qemu_machine_with(qemu_machine_options("microvm", "tcg"), "tcg"), "microvm");
    CHECK(!qemu_machine_with("microvm,isa-serial=off", "tcg"));
    CHECK(!qemu_machine_with(NULL, "tcg"));
    CHECK(!qemu_machine_options("microvm", "xen"));
}

static void refuse(const Plan *plan, const char *part) {
    _cleanup_error_ Error error = ERROR_INIT;
    StrList argv = {0};
    CHECK_INT(qemu_build_argv(plan, &sockets, &argv, &error), -EINVAL);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_CONTAINS(error_message(&error), part);
    CHECK_INT(argv.count, 0);
}

static void test_refusals(void) {
    Plan plan;
    fill(&plan);
    strcpy(plan.machine, "pc");
    refuse(&plan, "machine pc");
    fill(&plan);
    strcpy(plan.accel, "xen");
    refuse(&plan, "accelerator xen");
}

static bool has(const char *text, const char *part) {
    return strstr(text, part) != NULL;
}

/* A disk's own boot loader: a PC, devices on its bus, nothing of a kernel. */
static void test_firmware(void) {
    Plan plan;
    fill(&plan);
    strcpy(plan.machine, QEMU_MACHINE_PC);
    plan.firmware = PLAN_FIRMWARE_BIOS;
    _cleanup_free_ char *bios = build(&plan);
    CHECK(has(bios, "-M\nq35,vmport=off,smm=off,sata=off,graphics=off,suppress-vmdesc=on,"
                    "memory-backend=ram0\n"));
    CHECK(has(bios, "virtio-blk-pci,disable-legacy=on,id=disk0,drive=disk0-0,serial=root,"
                    "bootindex=0\n"));
    CHECK(has(bios, "virtio-net-pci,disable-legacy=on,romfile=,id=nic0,netdev=net0,"));
    CHECK(has(bios, "virtio-serial-pci,disable-legacy=on,id=serial0\n"));
    CHECK(!has(bios, "-kernel") && !has(bios, "-append") && !has(bios, "flash"));

    plan.firmware = PLAN_FIRMWARE_UEFI;
    plan.firmware_fd = 22;
    plan.variables_fd = 23;
    _cleanup_free_ char *uefi = build(&plan);
    CHECK(has(uefi, ",pflash0=flash0,pflash1=flash1\n"));
    CHECK(has(uefi, "-add-fd\nfd=22,set=900\n-add-fd\nfd=23,set=901\n"));

    plan.boot = PLAN_BOOT_RESTORE;
    _cleanup_free_ char *restored = build(&plan);
    CHECK(has(restored, "-incoming\ndefer\n") && !has(restored, "loader,addr"));
}

static void test_memory_hole(void) {
    Plan plan;
    fill(&plan);
    CHECK_INT(qemu_memory_hole(&plan), 3 * GIB);
    plan.firmware = PLAN_FIRMWARE_BIOS;
    CHECK_INT(qemu_memory_hole(&plan), 0xb0000000u);
    plan.memory_bytes = 4 * GIB;
    CHECK_INT(qemu_memory_hole(&plan), 2 * GIB);
}

static void test_fdsets_are_distinct(void) {
    char name[QEMU_NODE_NAME_SIZE];
    CHECK_INT(qemu_disk_fdset(0, PLAN_CHAIN_MAX - 1) + 1, qemu_disk_fdset(1, 0));
    CHECK(qemu_disk_fdset(PLAN_DISKS_MAX - 1, PLAN_CHAIN_MAX - 1) < QEMU_FDSET_FREE);
    qemu_disk_node(7, 63, name);
    CHECK_STR(name, "disk7-63");
}

int main(void) {
    RUN(test_tcg);
    RUN(test_kvm_rom);
    RUN(test_kvm_has_nothing_of_emulation);
    RUN(test_restore);
    RUN(test_no_network);
    RUN(test_tap);
    RUN(test_dgram);
    RUN(test_closed_chain);
    RUN(test_read_only_disk);
    RUN(test_defaults);
    RUN(test_refusals);
    RUN(test_firmware);
    RUN(test_memory_hole);
    RUN(test_fdsets_are_distinct);
    return 0;
}
