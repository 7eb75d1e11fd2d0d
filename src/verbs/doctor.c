/* SPDX-License-Identifier: Apache-2.0 */

/* The report, its table of checks, and the two checks that ask QEMU and the accelerator. The others
 * are in doctor_checks.c. */

#include "verbs/doctor.h"

#include <sys/utsname.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"
#include "limits/enforce.h"
#include "memory/written.h"
#include "network/bridge/host_forwarding.h"
#include "network/bridge/probe.h"
#include "qemu/accel.h"
#include "qemu/features.h"
#include "qemu/kvm.h"
#include "verbs/doctor_checks.h"
#include "zygote/client.h"

#define QEMU_BOUND_USEC (60 * USEC_PER_SEC)

static char *copy_hint(const Error *error) {
    return str_copy(error->hint);
}

/* Software emulation works, only slower, and so does a KVM that interprets; KVM that was asked for
 * and lacks is an error. */
static char *accel_mend(const AccelProbe *probe) {
    switch (probe->outcome) {
    case ACCEL_OUTCOME_NO_PERMISSION:
        return str_copy("add the daemon's user to the group that owns /dev/kvm (on Debian: kvm)");
    case ACCEL_OUTCOME_NO_DEVICE:
        return str_copy(
            "load kvm_intel or kvm_amd and turn virtualisation on in the firmware; in a VM, "
            "ask for nested virtualisation");
    case ACCEL_OUTCOME_WORKS:
        return NULL;
    default:
        return str_copy("use a host with hardware virtualisation, or live with emulation");
    }
}

static void check_accel(const DoctorInput *input, DoctorCheck *check) {
    AccelProbe probe = {.outcome = ACCEL_OUTCOME_WORKS};
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *reason = NULL, *took = NULL;
    const char *accel;
    if (accel_wish_needs_probe(input->accel)) {
        accel_probe(input->accel_helper, ACCEL_PROBE_BOUND_USEC, &probe);
        (void)accel_cache_store(input->home, NULL, &probe);
    }
    took = format_duration(probe.duration_usec);
    if (accel_choose(input->accel, &probe, &accel, &reason, &error) < 0) {
        doctor_check_set(check, DOCTOR_ERROR, str_copy(error_message(&error)), copy_hint(&error));
        return;
    }
    doctor_check_set(check,
                     probe.outcome == ACCEL_OUTCOME_WORKS && str_equal(accel, "kvm")
                         ? DOCTOR_OK
                         : DOCTOR_WARNING,
                     str_format("%s (probed in %s)", reason, took), accel_mend(&probe));
}

static char *describe_qemu(const QemuFeatures *features) {
    return str_format(
        "%s, version %s; private memory over %s; snapshots %s%s", features->binary,
        features->version, features->memory_rom ? "read-only files" : "sealed memory",
        features->save_devices && features->snapshot ? "yes" : "no",
        features->user_network ? "" : "; no user-mode networking, so none of earlier versions");
}

static int probe_qemu(const DoctorInput *input, QemuFeatures *features, Error *error) {
    _cleanup_free_ char *binary = NULL;
    int r = qemu_find_binary(input->qemu, &binary, error);
    if (r < 0)
        return r;
    r = qemu_features_cached(input->home, binary, clock_monotonic_usec() + QEMU_BOUND_USEC,
                             features, error);
    if (r < 0)
        return r;
    r = qemu_features_check(features, error);
    if (r < 0)
        qemu_features_free(features);
    return r;
}

static void check_qemu(const DoctorInput *input, DoctorCheck *check) {
    _cleanup_error_ Error error = ERROR_INIT;
    QemuFeatures features;
    bool whole;
    if (probe_qemu(input, &features, &error) < 0) {
        doctor_check_set(check, DOCTOR_ERROR, str_copy(error_message(&error)), copy_hint(&error));
        return;
    }
    whole = features.save_devices && features.snapshot;
    doctor_check_set(check, whole ? DOCTOR_OK : DOCTOR_WARNING, describe_qemu(&features),
                     whole ? NULL
                           : str_copy("use a QEMU as Debian builds it: package qemu-system-x86"));
    qemu_features_free(&features);
}

static void check_zygote(const DoctorInput *input, DoctorCheck *check) {
    _cleanup_free_ char *binary = NULL, *why = NULL;
    if (!input->zygote_library) {
        doctor_check_set(check, DOCTOR_INFO, str_copy("turned off, or not installed"), NULL);
        return;
    }
    if (qemu_find_binary(input->qemu, &binary, NULL) == 0)
        why = zygote_try(input->zygote_library, binary);
    else
        why = str_copy("there is no QEMU");
    doctor_check_set(check, why ? DOCTOR_WARNING : DOCTOR_OK,
                     why ? str_format("QEMU is started anew for each VM: %s", why)
                         : str_copy("QEMUs are forked off one that is linked"),
                     why ? str_copy("use the distribution's QEMU itself, without LD_PRELOAD and "
                                    "scripts around it")
                         : NULL);
}

/* userfaultfds come from the zygote. */
static void check_tracking(const DoctorInput *input, DoctorCheck *check) {
    WrittenWay way = written_pages_probe(input->zygote_library != NULL);
    bool none = way == WRITTEN_UNKNOWN;
    doctor_check_set(check, none ? DOCTOR_INFO : DOCTOR_OK,
                     str_format("what a guest writes is told by: %s", written_pages_way(way)),
                     none ? str_copy("use Linux 6.7 or later, with the zygote; or a kernel with "
                                     "CONFIG_MEM_SOFT_DIRTY, as Debian's")
                          : NULL);
}

static void check_kernel(const DoctorInput *input, DoctorCheck *check) {
    struct utsname name;
    (void)input;
    if (uname(&name) < 0) {
        doctor_check_set(check, DOCTOR_WARNING, str_copy("the kernel does not say what it is"),
                         NULL);
        return;
    }
    doctor_check_set(check, DOCTOR_INFO,
                     str_format("%s %s on %s", name.sysname, name.release, name.machine), NULL);
}

static void check_bridges(const DoctorInput *input, DoctorCheck *check) {
    _cleanup_error_ Error error = ERROR_INIT, lack = ERROR_INIT;
    BridgeNames names = {0};
    bridge_names_of(input->home, &names);
    if (host_check_bridges(&error) < 0)
        doctor_check_set(check, DOCTOR_INFO, str_copy(error_message(&error)), copy_hint(&error));
    else if (bridge_probe(&names, NULL, &lack) < 0)
        doctor_check_set(check, DOCTOR_INFO,
                         str_format("--backend auto is a switch: %s", error_message(&lack)),
                         copy_hint(&lack));
    else
        doctor_check_set(check, DOCTOR_OK,
                         str_copy("can be made and impaired: --backend auto is a bridge"), NULL);
}

static void check_limits(const DoctorInput *input, DoctorCheck *check) {
    bool all;
    char *found = limits_tell(input->cgroup, &all);
    doctor_check_set(check, all ? DOCTOR_OK : DOCTOR_INFO, found,
                     all ? NULL
                         : str_copy("use a host with cgroup v2 alone, or have a folder of it "
                                    "delegated and name it in RAMET_CGROUP"));
}

static const DoctorItem items[] = {
    {"accelerator",
     "with KVM guests run at the processor's speed; emulated ones are ten times slower",
     check_accel},
    {"qemu", "QEMU runs the guests; snapshots and networks need some of its features", check_qemu},
    {"zygote", "dynamic linking is half of a QEMU's start, and the same for each", check_zygote},
    {"network namespace", "QEMU needs nothing of the host's network, and is better off without",
     doctor_check_namespace},
    {"kernel", "dirty pages are found by /proc/PID/pagemap, faster from Linux 6.7 on",
     check_kernel},
    {"page tracking", "without, all that a guest wrote must be copied while it is paused",
     check_tracking},
    {"bridges", "networks over a bridge are faster; those of a switch need no privilege",
     check_bridges},
    {"limits", "--cpu-limit, --memory-limit and --pids-limit are kept by the host's cgroup v2",
     check_limits},
    {"tools", "images are built and imported with them", doctor_check_tools},
    {"file system", "with reflinks copies of disks share their blocks", doctor_check_file_system},
    {"memory", "each running VM needs what its guest touches, clones only what they change",
     doctor_check_memory},
    {"disk room", "images, overlays and snapshots lie in the home", doctor_check_disk},
    {"socket path", "a unix socket's address holds 107 bytes; some clients know no way around",
     doctor_check_socket},
    {"leftovers", "what no VM owns takes room", doctor_check_leftovers},
};
_Static_assert(ARRAY_SIZE(items) <= DOCTOR_CHECKS_MAX, "too many checks");

void doctor_run(const DoctorInput *input, DoctorReport **report) {
    DoctorReport *made = calloc(1, sizeof(*made));
    if (!made)
        abort();
    for (size_t i = 0; i < ARRAY_SIZE(items); i++) {
        DoctorCheck *check = &made->checks[made->count++];
        check->name = items[i].name;
        check->why = items[i].why;
        items[i].run(input, check);
    }
    *report = made;
}

DoctorReport *doctor_report_free(DoctorReport *report) {
    if (!report)
        return NULL;
    for (size_t i = 0; i < report->count; i++) {
        free(report->checks[i].found);
        free(report->checks[i].mend);
    }
    free(report);
    return NULL;
}

DoctorStatus doctor_report_worst(const DoctorReport *report) {
    DoctorStatus worst = DOCTOR_OK;
    for (size_t i = 0; i < report->count; i++)
        worst = MAX_OF(worst, report->checks[i].status);
    return worst;
}

const char *doctor_status_name(DoctorStatus status) {
    static const char *const names[] = {"ok", "info", "warning", "error"};
    return names[status];
}

json_t *doctor_report_to_json(const DoctorReport *report) {
    json_t *checks = json_array();
    for (size_t i = 0; i < report->count; i++) {
        const DoctorCheck *check = &report->checks[i];
        json_t *item =
            json_pack("{s:s, s:s, s:s, s:s, s:s?}", "name", check->name, "status",
                      doctor_status_name(check->status), "found", check->found ? check->found : "",
                      "why", check->why, "mend", check->mend);
        if (!item || json_array_append_new(checks, item) < 0)
            abort();
    }
    return json_pack("{s:o}", "checks", checks);
}
