/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/boot/power.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>

#include "agent/base/mounts.h"

#define TERM_GRACE_USEC 3000000u

/* busybox's init (init/init.c, halt.c), then sysvinit's and the kernel's own (ctrlaltdel, power),
 * then systemd's (systemd(1), Signals). SIGRTMIN is 34 for the C libraries that send it; the number
 * of our own may differ. A virtual machine that only halts is of no use, so `halt` powers off. */
static const struct {
    int number;
    PowerAction action;
} power_signals[] = {
    {SIGUSR1, POWER_OFF}, {SIGUSR2, POWER_OFF}, {SIGTERM, POWER_REBOOT}, {SIGINT, POWER_REBOOT},
    {SIGPWR, POWER_OFF},  {34 + 3, POWER_OFF},  {34 + 4, POWER_OFF},     {34 + 5, POWER_REBOOT},
};

void power_add_signals(sigset_t *set) {
    for (size_t i = 0; i < ARRAY_SIZE(power_signals); i++)
        (void)sigaddset(set, power_signals[i].number);
}

PowerAction power_of_signal(int number) {
    for (size_t i = 0; i < ARRAY_SIZE(power_signals); i++)
        if (power_signals[i].number == number)
            return power_signals[i].action;
    return POWER_NONE;
}

/* Waits until no process is left, at most until the deadline; true when none is. SIGCHLD is blocked
 * and tells when to look again. */
static bool wait_for_all(uint64_t deadline_usec) {
    sigset_t child;
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    for (;;) {
        pid_t pid;
        while ((pid = waitpid(-1, NULL, WNOHANG)) > 0)
            ;
        if (pid < 0 && errno == ECHILD)
            return true;
        uint64_t now = now_usec();
        if (now >= deadline_usec)
            return false;
        struct timespec left = {.tv_sec = (time_t)((deadline_usec - now) / 1000000u),
                                .tv_nsec = (long)((deadline_usec - now) % 1000000u * 1000u)};
        (void)sigtimedwait(&child, NULL, &left);
    }
}

static void end_processes(void) {
    (void)kill(-1, SIGTERM);
    (void)kill(-1, SIGHUP); /* shells do not listen to SIGTERM */
    (void)kill(-1, SIGCONT);
    if (wait_for_all(now_usec() + TERM_GRACE_USEC))
        return;
    (void)kill(-1, SIGKILL);
    (void)wait_for_all(now_usec() + TERM_GRACE_USEC);
}

/* Everything that can be unmounted is; the root is made read-only, which writes its journal out. */
static void unmount_all(void) {
    _cleanup_(mounts_free) Mounts mounts = {0};
    if (mounts_read(&mounts) < 0)
        return;
    for (size_t i = mounts.n; i-- > 0;) {
        const Mount *mount_ = &mounts.list[i];
        if (!mount_->on_disk || mount_->read_only)
            continue;
        if (umount2(mount_->folder, 0) < 0)
            (void)mount(NULL, mount_->folder, NULL, MS_REMOUNT | MS_RDONLY, NULL);
    }
}

/* Without ACPI the kernel has no way to power off and would only halt. QEMU runs with -no-reboot,
 * so a reboot ends it as well. */
static void __attribute__((noreturn)) end_machine(PowerAction action) {
    bool can_power_off = access("/sys/firmware/acpi", F_OK) == 0;
    (void)reboot(action == POWER_OFF && can_power_off ? RB_POWER_OFF : RB_AUTOBOOT);
    for (;;)
        (void)pause();
}

void power_off_now(void) {
    sync();
    end_machine(POWER_OFF);
}

static void ask_init(PowerAction action) {
    const char *const argv[] = {action == POWER_OFF ? "/sbin/poweroff" : "/sbin/reboot", NULL};
    const char *const env[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    pid_t pid;
    /* systemd(1), Signals: SIGRTMIN+4 starts poweroff.target, SIGRTMIN+5 reboot.target. The numbers
     * are the kernel's: its first real-time signal is 34 for systemd's C library. */
    if (access("/run/systemd/system", F_OK) == 0)
        (void)kill(1, action == POWER_OFF ? 34 + 4 : 34 + 5);
    else
        (void)posix_spawn(&pid, argv[0], NULL, NULL, (char *const *)argv, (char *const *)env);
}

void power_act(PowerAction action, bool is_init) {
    if (!is_init) {
        ask_init(action);
        return;
    }
    end_processes();
    sync();
    unmount_all();
    end_machine(action);
}
