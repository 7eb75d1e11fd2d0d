/* SPDX-License-Identifier: Apache-2.0 */

/* Debian with systemd, made by mmdebstrap from Debian's mirrors. As root it fills a folder; as a
 * user it works in a user namespace and leaves a tar.
 *
 * What Ramet wants changed is done by one shell script, which mmdebstrap calls with the new root as
 * its last step, in both ways with the right ownership. mmdebstrap itself keeps services from
 * starting while packages are installed (policy-rc.d), and cleans apt's lists and caches.
 *
 * As root, mmdebstrap runs in a mount and pid namespace of its own: when it is killed, the kernel
 * takes its mounts and children down with it, so that removing the scratch never meets a mounted
 * /sys. */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "image/command.h"
#include "image/recipe_row.h"

#define DEFAULT_SUITE "bookworm"
/* libnss-myhostname: a guest finds its own name, whatever it is just now. */
#define BASE_PACKAGES "systemd,systemd-sysv,udev,dbus,iproute2,kmod,libnss-myhostname"
#define MERGED_USR_HOOK "/usr/share/mmdebstrap/hooks/maybe-merged-usr"

/* For sh -c, with the new root as $1. */
static const char customize_script[] =
    "set -eu\n"
    "root=$1\n"
    "\n"
    "# The modules came with the host's owners and read-only modes.\n"
    "if [ -d \"$root/lib/modules\" ]; then\n"
    "    chown -R 0:0 \"$root/lib/modules\"\n"
    "    chmod -R u=rwX,go=rX \"$root/lib/modules\"\n"
    "fi\n"
    "\n"
    "# An empty machine-id: each VM gets its own, and systemd does not take the boot for a first "
    "one,\n"
    "# in which it would enable and disable units anew.\n"
    ": > \"$root/etc/machine-id\"\n"
    "rm -f \"$root/var/lib/dbus/machine-id\"\n"
    "ln -s /etc/machine-id \"$root/var/lib/dbus/machine-id\"\n"
    "rm -f \"$root/var/lib/systemd/random-seed\"\n"
    "echo debian > \"$root/etc/hostname\"\n"
    "printf '127.0.0.1\\tlocalhost\\n::1\\tlocalhost ip6-localhost\\n' > \"$root/etc/hosts\"\n"
    "rm -f \"$root/etc/resolv.conf\"\n"
    ": > \"$root/etc/resolv.conf\"\n"
    "echo '# The root disk is mounted before systemd starts.' > \"$root/etc/fstab\"\n"
    "mkdir -p \"$root/etc/default\" \"$root/etc/ramet/clone.d\"\n"
    "echo LANG=C.UTF-8 > \"$root/etc/default/locale\"\n"
    "\n"
    "units=$root/etc/systemd/system\n"
    "mkdir -p \"$units\"\n"
    "ln -sf /lib/systemd/system/multi-user.target \"$units/default.target\"\n"
    "# Work that a short-lived VM never wants behind its back, and that slows its start; the agent "
    "sets\n"
    "# network, clock and shells up, so nothing waits for a network and no console asks for a "
    "login.\n"
    "for unit in apt-daily.timer apt-daily-upgrade.timer apt-daily.service "
    "apt-daily-upgrade.service \\\n"
    "    dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer man-db.timer \\\n"
    "    systemd-networkd-wait-online.service NetworkManager-wait-online.service \\\n"
    "    systemd-timesyncd.service systemd-hwdb-update.service systemd-pcrphase.service \\\n"
    "    systemd-pcrphase-sysinit.service systemd-firstboot.service getty@.service \\\n"
    "    serial-getty@.service getty-static.service console-getty.service \\\n"
    "    modprobe@configfs.service modprobe@dm_mod.service modprobe@drm.service \\\n"
    "    modprobe@efi_pstore.service modprobe@fuse.service modprobe@loop.service \\\n"
    "    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount \\\n"
    "    sys-fs-fuse-connections.mount proc-sys-fs-binfmt_misc.automount \\\n"
    "    proc-sys-fs-binfmt_misc.mount systemd-binfmt.service systemd-pstore.service \\\n"
    "    systemd-random-seed.service systemd-update-utmp.service \\\n"
    "    systemd-update-utmp-runlevel.service systemd-journal-flush.service; do\n"
    "    ln -sf /dev/null \"$units/$unit\"\n"
    "done\n"
    "# logind serves PAM sessions; without its PAM module it only costs a second or two of the "
    "start.\n"
    "# It is not masked, since poweroff and reboot ask it, and D-Bus starts it then.\n"
    "if ! ls \"$root\"/usr/lib/*/security/pam_systemd.so \\\n"
    "    \"$root\"/lib/*/security/pam_systemd.so > /dev/null 2>&1; then\n"
    "    mkdir -p \"$units/multi-user.target.wants\"\n"
    "    ln -sf /dev/null \"$units/multi-user.target.wants/systemd-logind.service\"\n"
    "fi\n"
    "# The journal stays in memory: its flush to disk is one of the slowest steps of a start.\n"
    "rm -rf \"$root/var/log/journal\"\n"
    "\n"
    "# The processor that QEMU emulates names modules of a megabyte that no guest here has a use\n"
    "# for; modprobe by name still loads them.\n"
    "mkdir -p \"$root/etc/modprobe.d\"\n"
    "printf 'blacklist kvm_amd\\nblacklist kvm_intel\\n' > \"$root/etc/modprobe.d/ramet.conf\"\n"
    "# Cold plug without the hundreds of devices that no rule of a server acts on: consoles, "
    "processors,\n"
    "# memory. It is the slowest step of an emulated start.\n"
    "mkdir -p \"$units/systemd-udev-trigger.service.d\"\n"
    "cat > \"$units/systemd-udev-trigger.service.d/ramet.conf\" <<'EOF'\n"
    "[Service]\n"
    "ExecStart=\n"
    "ExecStart=-udevadm trigger --type=devices --action=add --subsystem-nomatch=tty \\\n"
    "    --subsystem-nomatch=vc --subsystem-nomatch=vtconsole --subsystem-nomatch=mem \\\n"
    "    --subsystem-nomatch=memory --subsystem-nomatch=cpu --subsystem-nomatch=workqueue \\\n"
    "    --subsystem-nomatch=event_source --subsystem-nomatch=machinecheck \\\n"
    "    --subsystem-nomatch=clockevents --subsystem-nomatch=clocksource \\\n"
    "    --subsystem-nomatch=wakeup --subsystem-nomatch=bdi --subsystem-nomatch=node\n"
    "EOF\n"
    "\n"
    "# Host keys in an image would be the same in all VMs: each makes its own.\n"
    "if [ -e \"$root/usr/sbin/sshd\" ]; then\n"
    "    rm -f \"$root\"/etc/ssh/ssh_host_*\n"
    "    cat > \"$units/ramet-ssh-keys.service\" <<'EOF'\n"
    "[Unit]\n"
    "Description=Make this machine's SSH host keys\n"
    "ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key\n"
    "Before=ssh.service\n"
    "[Service]\n"
    "Type=oneshot\n"
    "ExecStart=/usr/bin/ssh-keygen -A\n"
    "EOF\n"
    "    mkdir -p \"$units/ssh.service.wants\"\n"
    "    ln -s ../ramet-ssh-keys.service \"$units/ssh.service.wants/ramet-ssh-keys.service\"\n"
    "fi\n"
    "\n"
    "rm -rf \"$root\"/var/cache/apt/*.bin \"$root\"/var/log/apt/* \"$root\"/var/log/dpkg.log \\\n"
    "    \"$root\"/var/log/bootstrap.log \"$root\"/var/log/alternatives.log\n"
    "# Newer than /usr, so that no ConditionNeedsUpdate= holds: ldconfig, sysusers, the journal's\n"
    "# catalogue and the hardware database are as the packages left them.\n"
    "touch \"$root/usr\"\n"
    "touch \"$root/etc/.updated\" \"$root/var/.updated\"\n";

/* Which of the lines of mmdebstrap, apt and dpkg tell something to the one who waits. */
static void show_line(void *data, const char *line) {
    static const char *const telling[] = {"Get:", "Unpacking ", "Setting up ", "I: "};
    const ImageContext *context = data;
    for (size_t i = 0; i < ARRAY_SIZE(telling); i++)
        if (str_has_prefix(line, telling[i])) {
            image_context_progress(context, line, 0, 0);
            return;
        }
}

static int require_program(const char *name, const char *package, Error *error) {
    _cleanup_free_ char *program = path_find_program(name);
    if (program)
        return 0;
    int r = error_set(error, ERROR_UNSUPPORTED, ENOENT, "%s is missing", name);
    error_set_hint(error, "install the package %s", package);
    return r;
}

/* Whether the user may have further ids in a namespace: subuid(5), lines NAME:FIRST:COUNT. */
static bool has_further_ids(const char *path, const char *name) {
    _cleanup_free_ char *text = NULL;
    size_t length = strlen(name);
    if (fd_read_file_at(AT_FDCWD, path, 4 * MIB, &text, NULL) < 0)
        return false;
    char *rest = text, *line;
    while ((line = strsep(&rest, "\n")))
        if (strncmp(line, name, length) == 0 && line[length] == ':')
            return true;
    return false;
}

/* mmdebstrap finds this out, too, but says neither what it is for nor what to do. */
static int check_user(Error *error) {
    if (geteuid() == 0)
        return 0;
    const struct passwd *user = getpwuid(geteuid());
    if (!user) {
        error_set(error, ERROR_UNSUPPORTED, ENOENT,
                  "user %u has no name, and so no further ids for a user namespace",
                  (unsigned)geteuid());
        error_set_hint(error, "build the image as root, or as a user that /etc/subuid names");
        return -ENOENT;
    }
    int r = require_program("newuidmap", "uidmap", error);
    if (r < 0 || (has_further_ids("/etc/subuid", user->pw_name) &&
                  has_further_ids("/etc/subgid", user->pw_name)))
        return r;
    error_set(error, ERROR_UNSUPPORTED, EPERM,
              "user %s has no further ids for a user namespace: /etc/subuid or /etc/subgid does "
              "not name it",
              user->pw_name);
    error_set_hint(error,
                   "as root: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s; "
                   "or build the image as root",
                   user->pw_name);
    return -EPERM;
}

static char *include_option(const RecipeRequest *request) {
    StrBuf option = {0};
    strbuf_add_text(&option, "--include=" BASE_PACKAGES);
    for (size_t i = 0; i < request->include->count; i++)
        strbuf_add_format(&option, ",%s", request->include->items[i]);
    return strbuf_steal(&option);
}

/* Modules of the kernel that this image is started with, so that modprobe works in the guest. /lib
 * may be a link to usr/lib; the copy ends in the right place both ways. A namespace's root cannot
 * read what is the caller's; sync-in can. But sync-in is slow, and its tar gives up when somebody
 * makes a hard link to a file while it is read, so root copies. */
static int add_modules(const KernelBundle *kernel, StrList *argv, Error *error) {
    if (!kernel->modules)
        return 0;
    if (strchr(kernel->modules, '\''))
        return error_set(error, ERROR_UNSUPPORTED, EINVAL, "the path %s holds a quote",
                         kernel->modules);
    strlist_add_format(argv, "--customize-hook=mkdir -p \"$1/lib/modules/%s\"", kernel->version);
    if (geteuid() == 0)
        strlist_add_format(argv, "--customize-hook=cp -R '%s/.' \"$1/lib/modules/%s\"",
                           kernel->modules, kernel->version);
    else
        strlist_add_format(argv, "--customize-hook=sync-in '%s' /lib/modules/%s", kernel->modules,
                           kernel->version);
    return 0;
}

/* Runs the rest of the line with the host's own package state read-only: a slip in mmdebstrap's or
 * our clean-up (it sets apt's root by a file below the new /tmp) must not reach the host's lists.
 */
static const char guard_script[] =
    "for folder in /var/lib/apt /var/lib/dpkg /var/cache/apt; do "
    "[ ! -d $folder ] || mount -o bind,ro $folder $folder || exit 1; done; exec \"$@\"";

/* bookworm's init-system-helpers wants a merged /usr. Without the hook the package usrmerge makes
 * one of the folders, with all of perl for it: twice the packages, and half of the time. */
static void add_merged_usr(StrList *argv) {
    if (access(MERGED_USR_HOOK, R_OK | X_OK) == 0)
        strlist_add(argv, "--hook-dir=" MERGED_USR_HOOK);
}

static void add_arguments(const RecipeRequest *request, StrList *argv) {
    _cleanup_free_ char *include = include_option(request);
    strlist_add_many(argv, "env", "LC_ALL=C", NULL);
    if (geteuid() == 0)
        strlist_add_many(argv, "unshare", "--mount", "--pid", "--fork", "--kill-child",
                         "--mount-proc", "sh", "-c", guard_script, "sh", NULL);
    strlist_add_many(
        argv, "mmdebstrap", "--verbose", "--variant=minbase", "--components=main",
        geteuid() == 0 ? "--mode=root" : "--mode=unshare", include,
        "--aptopt=Acquire::Languages \"none\"", "--aptopt=APT::Install-Recommends \"false\"",
        "--aptopt=Acquire::Retries \"3\"", /* a mirror's hiccup is no reason to begin anew */
        /* What Debian's own slim images leave out. */
        "--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/info/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright", NULL);
    add_merged_usr(argv);
}

static int make_debian(const ImageContext *context, const RecipeRequest *request,
                       RecipeOutput *output, Error *error) {
    int r = require_program("mmdebstrap", "mmdebstrap", error);
    if (r >= 0)
        r = check_user(error);
    if (r < 0)
        return error_add_context(error, "cannot build Debian");
    const char *suite = request->suite ? request->suite : DEFAULT_SUITE;
    bool is_tar = geteuid() != 0;
    _cleanup_(strlist_free) StrList argv = {0};
    add_arguments(request, &argv);
    r = add_modules(request->kernel, &argv, error);
    if (r < 0)
        return r;
    strlist_add_format(&argv, "--customize-hook=%s", customize_script);
    strlist_add_many(&argv, is_tar ? "--format=tar" : "--format=directory", suite,
                     is_tar ? output->tar : output->folder, NULL);
    r = command_run(context, argv.items, show_line, (void *)(uintptr_t)context, error);
    if (r < 0)
        return error_add_context(error, "cannot build Debian %s", suite);
    output->is_tar = is_tar;
    return 0;
}

const Recipe recipe_debian = {
    .name = "debian",
    .takes_suite = true,
    .takes_include = true,
    .size_bytes = 2 * GIB,
    .default_memory_bytes = 512 * MIB,
    .init = IMAGE_INIT_SYSTEMD,
    .make = make_debian,
};
