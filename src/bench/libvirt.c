/* SPDX-License-Identifier: Apache-2.0 */

/* The same machine under libvirt: a transient domain that boots kernel and initramfs, `virsh save`
 * and `virsh restore`. What is measured is the whole command, as a user runs it. */

#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/spawn.h"
#include "base/str.h"
#include "bench/fork.h"

#define VIRSH_BOUND_USEC (600 * USEC_PER_SEC)
#define DOMAIN_NAME "ramet-bench"

static int virsh(const char *what, const char *argument, const char *second, uint64_t *usec,
                 Error *error) {
    _cleanup_(strlist_free) StrList argv = {0};
    strlist_add_many(&argv, "virsh", "-q", "-c", "qemu:///system", what, argument, second, NULL);
    const SpawnOptions options = {.program = argv.items[0], .argv = argv.items};
    uint64_t start = clock_monotonic_usec();
    int r = spawn_run(&options, VIRSH_BOUND_USEC, -1, NULL, error);
    if (usec)
        *usec = clock_monotonic_usec() - start;
    return r < 0 ? error_add_context(error, "virsh %s", what) : 0;
}

static char *domain_xml(const PlainBoot *boot) {
    return str_format("<domain type='%s'><name>" DOMAIN_NAME "</name>"
                      "<memory unit='b'>%llu</memory><vcpu>1</vcpu>"
                      "<os><type arch='x86_64' machine='pc'>hvm</type><kernel>%s</kernel>"
                      "<initrd>%s</initrd><cmdline>console=ttyS0</cmdline></os>"
                      "<features><acpi/></features><devices><emulator>%s</emulator>"
                      "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
                      "<source file='%s'/><target dev='vda' bus='virtio'/></disk>"
                      "<serial type='null'/><memballoon model='none'/></devices></domain>\n",
                      str_equal(boot->accel, "kvm") ? "kvm" : "qemu",
                      (unsigned long long)boot->memory_bytes, boot->kernel, boot->initrd,
                      boot->qemu, boot->disk);
}

static int write_domain(const PlainBoot *boot, const char *path, Error *error) {
    _cleanup_free_ char *xml = domain_xml(boot);
    FILE *file = fopen(path, "we");
    if (!file)
        return error_set_errno(error, errno, "cannot write %s", path);
    bool failed = fputs(xml, file) < 0;
    failed |= fclose(file) != 0;
    return failed ? error_set_errno(error, EIO, "cannot write %s", path) : 0;
}

/* Until it would have come to its agent; libvirt cannot tell. */
static int measure_once(const char *xml, const char *file, Samples *save, Samples *restore,
                        Error *error) {
    uint64_t save_usec, restore_usec;
    int r = virsh("create", xml, NULL, NULL, error);
    if (r < 0)
        return r;
    (void)sleep(5);
    r = virsh("save", DOMAIN_NAME, file, &save_usec, error);
    if (r >= 0)
        r = virsh("restore", file, NULL, &restore_usec, error);
    (void)virsh("destroy", DOMAIN_NAME, NULL, NULL, NULL);
    (void)unlink(file);
    if (r < 0)
        return r;
    samples_add(save, (double)save_usec);
    samples_add(restore, (double)restore_usec);
    return 0;
}

int libvirt_measure(const PlainBoot *boot, size_t runs, Samples *save, Samples *restore,
                    Error *error) {
    _cleanup_free_ char *program = path_find_program("virsh");
    _cleanup_free_ char *xml = str_format("%s.xml", boot->disk);
    _cleanup_free_ char *file = str_format("%s.save", boot->disk);
    if (!program)
        return error_set(error, ERROR_NOT_FOUND, ENOENT, "virsh is not installed");
    int r = virsh("version", "--daemon", NULL, NULL, error);
    if (r >= 0)
        r = write_domain(boot, xml, error);
    for (size_t i = 0; r >= 0 && i < runs; i++)
        r = measure_once(xml, file, save, restore, error);
    (void)unlink(xml);
    return r;
}
