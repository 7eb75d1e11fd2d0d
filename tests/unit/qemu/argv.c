/* SPDX-License-Identifier: Apache-2.0 */

#include "qemu/argv.h"

#include <errno.h>

#include "check.h"

/* The configuration that the tests vary: a TCG VM with a disk of two files and forwards. */
static void fill(QemuConfig *config) {
    qemu_config_init(config);
    config->binary = "/usr/bin/qemu";
    config->accel = "tcg";
    config->machine = "microvm";
    config->cpu = "qemu64";
    config->memory_bytes = 256 * MIB;
    config->cpus = 2;
    config->memory_fd = 10;
    config->n_disks = 1;
    strcpy(config->disks[0].serial, "root");
    config->disks[0].n_files = 2;
    config->disks[0].files[0] = (QemuDiskFile){.fd = 11, .fd_write = 12, .format = "qcow2"};
    config->disks[0].files[1] = (QemuDiskFile){.fd = 13, .fd_write = -1, .format = "raw"};
    config->network_card = true;
    memcpy(config->mac, "\x52\x54\x00\x01\x02\xff", 6);
    config->network = QEMU_NETWORK_USER;
    config->n_forwards = 2;
    config->forwards[0] = (QemuForward){"127.0.0.1", 8080, 80, false};
    config->forwards[1] = (QemuForward){"127.0.0.1", 5353, 53, true};
    config->kernel_fd = 20;
    config->initrd_fd = 21;
    config->cmdline = "quiet a=b,c";
    config->qmp_fd = 30;
    config->agent_fd = 31;
    config->console_fd = 32;
}

static char *build(const QemuConfig *config) {
    StrList argv = {0};
    StrBuf text = {0};
    Error error = ERROR_INIT;

    CHECK_INT(qemu_build_argv(config, &argv, &error), 0);
    for (size_t i = 0; i < argv.count; i++) {
        strbuf_add_text(&text, argv.items[i]);
        strbuf_add_text(&text, "\n");
    }
    strlist_free(&argv);
    return strbuf_take(&text);
}

#define GOLDEN_HEAD(accel, cpu)                                                       \
    "/usr/bin/"                                                                       \
    "qemu\n-M\nmicrovm,auto-kernel-cmdline=off,suppress-vmdesc=on,memory-"            \
    "backend=ram0\n"                                                                  \
    "-accel\n" accel "\n-cpu\n" cpu                                                   \
    "\n-smp\n2\n-m\n256M\n-nodefaults\n-no-user-config\n-no-reboot\n-display\nnone\n" \
    "-sandbox\non,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny\n"

#define GOLDEN_MEMORY(more) \
    "-object\nmemory-backend-file,id=ram0,size=256M,mem-path=/proc/self/fd/10,share=off" more "\n"

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
#define GOLDEN_USER                                                                     \
    "-netdev\nuser,id=net0,net=10.0.2.0/24,dhcpstart=10.0.2.15,ipv6=off,restrict=off,"  \
    "hostfwd=tcp:127.0.0.1:8080-10.0.2.15:80,hostfwd=udp:127.0.0.1:5353-10.0.2.15:53\n" \
    "-device\nvirtio-net-device,id=nic0,netdev=net0,guest_announce=off," GOLDEN_MAC

#define GOLDEN_COLD                                                                              \
    "-global\nmigration.send-configuration=off\n-kernel\n/proc/self/fd/20\n-initrd\n/proc/self/" \
    "fd/21\n"                                                                                    \
    "-append\nquiet a=b,c\n"

static void test_tcg(void) {
    QemuConfig config;
    _cleanup_free_ char *text = NULL;

    fill(&config);
    text = build(&config);
    CHECK_STR(text, GOLDEN_HEAD("tcg,thread=multi", "qemu64") GOLDEN_MEMORY("")
                        GOLDEN_SOCKETS GOLDEN_DISK GOLDEN_USER GOLDEN_COLD);
}

static void test_kvm_rom(void) {
    QemuConfig config;
    _cleanup_free_ char *text = NULL;

    fill(&config);
    config.accel = "kvm";
    config.cpu = NULL;
    config.memory_readonly_rom = true;
    text = build(&config);
    CHECK_STR(text, GOLDEN_HEAD("kvm", "host") GOLDEN_MEMORY(",readonly=on,rom=off")
                        GOLDEN_SOCKETS GOLDEN_DISK GOLDEN_USER GOLDEN_COLD);
}

static void test_restore(void) {
    QemuConfig config;
    _cleanup_free_ char *text = NULL;

    fill(&config);
    config.incoming = true;
    config.kernel_fd = config.initrd_fd = -1;
    text = build(&config);
    CHECK_STR(text, GOLDEN_HEAD("tcg,thread=multi", "qemu64") GOLDEN_MEMORY("")
                        GOLDEN_SOCKETS GOLDEN_DISK GOLDEN_USER
              "-global\nmigration.send-configuration=off\n-incoming\ndefer\n");
}

/* Without a cable the card is still there: the device list must not depend on the network. */
static void test_no_network(void) {
    QemuConfig config;
    _cleanup_free_ char *cable = NULL, *card = NULL;

    fill(&config);
    config.network = QEMU_NETWORK_NONE;
    config.n_forwards = 0;
    cable = build(&config);
    CHECK_CONTAINS(cable, "-device\nvirtio-net-device,id=nic0,guest_announce=off,mac=");
    CHECK(!strstr(cable, "netdev"));
    config.network_card = false;
    card = build(&config);
    CHECK(!strstr(card, "virtio-net"));
}

static void test_tap(void) {
    QemuConfig config;
    _cleanup_free_ char *text = NULL;

    fill(&config);
    config.network = QEMU_NETWORK_TAP;
    config.tap_fd = 40;
    text = build(&config);
    CHECK_CONTAINS(text, "-netdev\ntap,id=net0,fd=40,vhost=off\n-device\nvirtio-net-device,id=nic0,"
                         "netdev=net0,guest_announce=off,");
}

/* A chain that ends in a qcow2 must not follow that file's own idea of its backing file. */
static void test_closed_chain(void) {
    QemuConfig config;
    _cleanup_free_ char *text = NULL;

    fill(&config);
    config.disks[0].n_files = 1;
    text = build(&config);
    CHECK_CONTAINS(text, "\"detect-zeroes\":\"unmap\",\"backing\":null}");
}

static void test_read_only_disk(void) {
    QemuConfig config;
    _cleanup_free_ char *text = NULL;

    fill(&config);
    config.disks[0].read_only = true;
    config.disks[0].files[0].fd_write = -1;
    text = build(&config);
    CHECK_CONTAINS(text, "\"node-name\":\"disk0-0\",\"read-only\":true,\"discard\":\"ignore\"");
    CHECK(!strstr(text, "unmap"));
}

static void test_defaults(void) {
    CHECK_STR(qemu_default_cpu("kvm"), "host");
    CHECK_CONTAINS(qemu_default_cmdline("tcg"), "console=ttyS0");
    CHECK(!strstr(qemu_default_cmdline("kvm"), "tsc_early_khz"));
    CHECK_CONTAINS(qemu_default_cmdline("tcg"), "mitigations=off");
    CHECK(!strstr(qemu_default_cmdline("kvm"), "mitigations"));
    CHECK(qemu_default_cmdline("tcg") == qemu_default_cmdline("tcg"));
    CHECK(!qemu_machine_options("pc", "tcg"));
    CHECK(!qemu_machine_options("microvm", "xen"));
}

static void refuse(const QemuConfig *config, const char *part) {
    _cleanup_error_ Error error = ERROR_INIT;
    StrList argv = {0};

    CHECK_INT(qemu_build_argv(config, &argv, &error), -EINVAL);
    CHECK_INT(error.kind, ERROR_USAGE);
    CHECK_CONTAINS(error_message(&error), part);
    CHECK_INT(argv.count, 0);
}

#define REFUSE(change, part)   \
    do {                       \
        QemuConfig config;     \
        fill(&config);         \
        change;                \
        refuse(&config, part); \
    } while (0)

static void test_refusals(void) {
    REFUSE(config.machine = "pc", "unknown machine");
    REFUSE(config.accel = "xen", "unknown machine or accelerator");
    REFUSE(config.memory_bytes = 1, "whole MiB");
    REFUSE(config.memory_fd = 2, "whole MiB");
    REFUSE(config.cpus = 0, "CPUs");
    REFUSE(config.qmp_fd = -1, "monitor");
    REFUSE(config.kernel_fd = -1, "no kernel");
    REFUSE(config.disks[0].n_files = 0, "no file");
    REFUSE(strcpy(config.disks[0].serial, "a,b"), "serial");
    REFUSE(config.disks[0].files[0].fd_write = -1, "for writing");
    REFUSE(config.disks[0].files[1].fd = -1, "for reading");
    REFUSE(strcpy(config.disks[0].files[1].format, "vmdk"), "neither qcow2 nor raw");
    REFUSE(strcpy(config.disks[0].files[0].format, "raw"), "raw file cannot lie over");
    REFUSE(config.network_card = false, "without a card");
    REFUSE(config.network = QEMU_NETWORK_TAP, "TAP");
    REFUSE(strcpy(config.forwards[0].host_ip, "::1,x=y"), "IPv4");
    REFUSE(config.cpu = "host;x", "CPU model");
}

static void test_fdsets_are_distinct(void) {
    char name[QEMU_NODE_NAME_SIZE];

    CHECK_INT(qemu_disk_fdset(0, QEMU_CHAIN_MAX - 1) + 1, qemu_disk_fdset(1, 0));
    CHECK(qemu_disk_fdset(QEMU_DISKS_MAX - 1, QEMU_CHAIN_MAX - 1) < QEMU_FDSET_FREE);
    qemu_disk_node(7, 63, name);
    CHECK_STR(name, "disk7-63");
}

int main(void) {
    RUN(test_tcg);
    RUN(test_kvm_rom);
    RUN(test_restore);
    RUN(test_no_network);
    RUN(test_tap);
    RUN(test_closed_chain);
    RUN(test_read_only_disk);
    RUN(test_defaults);
    RUN(test_refusals);
    RUN(test_fdsets_are_distinct);
    return 0;
}
