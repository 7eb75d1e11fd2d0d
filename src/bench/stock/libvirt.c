/* SPDX-License-Identifier: Apache-2.0 */

/* The same guest under libvirt: a transient domain that boots kernel and initramfs, `virsh save`
 * and `virsh restore`. What is measured is the whole command, as a user runs it, and for the
 * restore also the time until the agent answers. The agent's port is a socket that libvirt makes
 * beside the disk (element `channel` of its domain XML).
 *
 * It is the session's libvirt, root's own for root: the system's would give our files to its own
 * user, the image's base included. */

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn_run.h"
#include "base/str.h"
#include "bench/stock/libvirt.h"

#define VIRSH_BOUND_USEC (600 * USEC_PER_SEC)
#define DOMAIN_NAME "ramet-bench"

typedef struct Domain {
    char *xml;  /* owned: path of its description */
    char *file; /* owned: path of the saved machine */
    char *port; /* owned: path of the agent's socket */
} Domain;

static void domain_free(Domain *domain) {
    free(domain->xml);
    free(domain->file);
    free(domain->port);
}

static int virsh(const char *what, const char *argument, const char *second, Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    strlist_add_many(&argv, "virsh", "-q", "-c", "qemu:///session", what, argument, second, NULL);
    const SpawnOptions options = {.program = argv.items[0], .argv = argv.items};
    int r = spawn_run(&options, VIRSH_BOUND_USEC, -1, NULL, error);
    return r < 0 ? error_add_context(error, "virsh %s", what) : 0;
}

static char *domain_xml(const PlainBoot *boot, const Domain *domain) {
    return str_format("<domain type='%s'><name>" DOMAIN_NAME "</name>"
                      "<memory unit='b'>%llu</memory><vcpu>1</vcpu>"
                      "<os><type arch='x86_64' machine='pc'>hvm</type><kernel>%s</kernel>"
                      "<initrd>%s</initrd><cmdline>%s</cmdline></os>"
                      "<features><acpi/></features><devices><emulator>%s</emulator>"
                      "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
                      "<source file='%s'/><target dev='vda' bus='virtio'/>"
                      "<serial>root</serial></disk><serial type='null'/>"
                      "<channel type='unix'><source mode='bind' path='%s'/>"
                      "<target type='virtio' name='" AGENT_CHANNEL_NAME "'/></channel>"
                      "<memballoon model='none'/></devices></domain>\n",
                      str_equal(boot->accel, "kvm") ? "kvm" : "qemu",
                      (unsigned long long)boot->memory_bytes, boot->kernel, boot->initrd,
                      boot->cmdline ? boot->cmdline : "console=ttyS0", boot->qemu, boot->disk,
                      domain->port);
}

static int write_domain(const PlainBoot *boot, const Domain *domain, Error *error) {
    _cleanup_free_ char *xml = domain_xml(boot, domain);
    FILE *file = fopen(domain->xml, "we");
    if (!file)
        return error_set_errno(error, errno, "cannot write %s", domain->xml);
    bool failed = fputs(xml, file) < 0;
    failed |= fclose(file) != 0;
    return failed ? error_set_errno(error, EIO, "cannot write %s", domain->xml) : 0;
}

static int greet(const Domain *domain, bool booting, uint8_t marker[AGENT_MARKER_SIZE],
                 Error *error) {
    _cleanup_close_ int fd = fd_unix_connect(domain->port, SOCK_STREAM);
    if (fd < 0)
        return error_set_errno(error, -fd, "cannot connect to the agent's port at %s",
                               domain->port);
    return plain_greet(fd, booting, marker, error);
}

static int measure_once(const Domain *domain, Samples *save, Samples *restore, Error *error) {
    uint8_t marker[AGENT_MARKER_SIZE];
    uint64_t start, save_usec = 0;
    int r = virsh("create", domain->xml, NULL, error);
    if (r < 0)
        return r;
    r = greet(domain, true, marker, error);
    start = clock_monotonic_usec();
    if (r >= 0)
        r = virsh("save", DOMAIN_NAME, domain->file, error);
    save_usec = clock_monotonic_usec() - start;
    start = clock_monotonic_usec();
    if (r >= 0)
        r = virsh("restore", domain->file, NULL, error);
    if (r >= 0)
        r = greet(domain, false, marker, error);
    uint64_t restore_usec = clock_monotonic_usec() - start;
    (void)virsh("destroy", DOMAIN_NAME, NULL, NULL);
    (void)unlink(domain->file);
    if (r < 0)
        return r;
    samples_add(save, (double)save_usec);
    samples_add(restore, (double)restore_usec);
    return 0;
}

static int check_libvirt(Error *error) {
    _cleanup_error_ Error trouble = ERROR_INIT;
    _cleanup_free_ char *program = path_find_program("virsh");
    if (!program)
        return error_set(error, ERROR_UNSUPPORTED, ENOENT, "virsh is not installed");
    if (virsh("version", "--daemon", NULL, &trouble) < 0)
        return error_set(error, ERROR_UNSUPPORTED, ENOTCONN, "%s", error_message(&trouble));
    return 0;
}

int libvirt_measure(const PlainBoot *boot, size_t runs, Samples *save, Samples *restore,
                    Error *error) {
    _cleanup_(domain_free) Domain domain = {.xml = str_format("%s.xml", boot->disk),
                                            .file = str_format("%s.save", boot->disk),
                                            .port = str_format("%s.port", boot->disk)};
    int r = check_libvirt(error);
    if (r >= 0)
        r = write_domain(boot, &domain, error);
    for (size_t i = 0; r >= 0 && i < runs; i++)
        r = measure_once(&domain, save, restore, error);
    (void)unlink(domain.xml);
    (void)unlink(domain.port);
    return r;
}
