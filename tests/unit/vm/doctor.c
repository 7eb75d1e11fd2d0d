/* SPDX-License-Identifier: Apache-2.0 */

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "memory/soft_dirty.h"
#include "memory/written.h"
#include "verbs/doctor.h"
#include "verbs/doctor_checks.h"

#include "check.h"

static char home[] = "/tmp/ramet-test-doctor-XXXXXX";
static char *slow_kvm[] = {(char *)"/bin/sh", (char *)"-c",
                           (char *)"echo interpreted 4 KVM_RUN 72000 100000", NULL};
static char *no_kvm[] = {(char *)"/bin/sh", (char *)"-c", (char *)"echo no_device 2 open 0 0",
                         NULL};
static char *good_kvm[] = {(char *)"/bin/sh", (char *)"-c", (char *)"echo works 0 - 1000000 700",
                           NULL};

static DoctorInput input_of(char **helper) {
    return (DoctorInput){.home = home, .accel_helper = helper};
}

static const DoctorCheck *find(const DoctorReport *report, const char *name) {
    for (size_t i = 0; i < report->count; i++)
        if (str_equal(report->checks[i].name, name))
            return &report->checks[i];
    return NULL;
}

static void test_report(void) {
    DoctorInput input = input_of(slow_kvm);
    _cleanup_(doctor_report_free_p) DoctorReport *report = NULL;
    _cleanup_json_ json_t *json = NULL;
    doctor_run(&input, &report);
    CHECK(report->count >= 12);
    for (size_t i = 0; i < report->count; i++) {
        CHECK(report->checks[i].found && report->checks[i].found[0] && report->checks[i].why[0]);
        printf("# %s: %s: %s\n", report->checks[i].name,
               doctor_status_name(report->checks[i].status), report->checks[i].found);
    }
    CHECK_INT(find(report, "accelerator")->status, DOCTOR_WARNING);
    CHECK_CONTAINS(find(report, "accelerator")->found, "using software emulation");
    CHECK(doctor_report_worst(report) >= DOCTOR_WARNING);
    json = doctor_report_to_json(report);
    CHECK_INT(json_array_size(json_object_get(json, "checks")), report->count);
}

static void test_accelerator(void) {
    DoctorInput good = input_of(good_kvm), forced = input_of(slow_kvm);
    _cleanup_(doctor_report_free_p) DoctorReport *a = NULL, *b = NULL, *c = NULL;
    doctor_run(&good, &a);
    CHECK_INT(find(a, "accelerator")->status, DOCTOR_OK);
    CHECK(!find(a, "accelerator")->mend);
    forced.accel = "kvm";
    doctor_run(&forced, &b);
    CHECK_INT(find(b, "accelerator")->status, DOCTOR_WARNING);
    CHECK_CONTAINS(find(b, "accelerator")->found, "asks for KVM, though");
    CHECK(find(b, "accelerator")->mend);
    forced.accel_helper = no_kvm;
    doctor_run(&forced, &c);
    CHECK_INT(find(c, "accelerator")->status, DOCTOR_ERROR);
    CHECK(find(c, "accelerator")->mend);
}

static void test_zygote(void) {
    DoctorInput off = input_of(good_kvm), none = input_of(good_kvm);
    _cleanup_(doctor_report_free_p) DoctorReport *a = NULL, *b = NULL;
    doctor_run(&off, &a);
    CHECK_INT(find(a, "zygote")->status, DOCTOR_INFO);
    none.zygote_library = "/dev/null";
    none.qemu = "/bin/false";
    doctor_run(&none, &b);
    CHECK_INT(find(b, "zygote")->status, DOCTOR_WARNING);
    CHECK_CONTAINS(find(b, "zygote")->found, "cannot be stopped before its first line");
    CHECK(find(b, "zygote")->mend);
}

/* A userfaultfd is of use only with the zygote, which hands it over. */
static void test_page_tracking(void) {
    DoctorInput with = input_of(good_kvm), without = input_of(good_kvm);
    _cleanup_(doctor_report_free_p) DoctorReport *a = NULL, *b = NULL;
    with.zygote_library = "/dev/null";
    with.qemu = "/bin/false";
    doctor_run(&with, &a);
    doctor_run(&without, &b);
    CHECK_CONTAINS(find(a, "page tracking")->found, written_pages_way(written_pages_probe(true)));
    CHECK_CONTAINS(find(b, "page tracking")->found, written_pages_way(written_pages_probe(false)));
    CHECK_INT(find(b, "page tracking")->mend != NULL, !soft_dirty_works());
}

static void test_no_qemu(void) {
    DoctorInput input = input_of(good_kvm);
    _cleanup_(doctor_report_free_p) DoctorReport *report = NULL;
    input.qemu = "/no/such/qemu";
    doctor_run(&input, &report);
    CHECK_INT(find(report, "qemu")->status, DOCTOR_ERROR);
    CHECK_CONTAINS(find(report, "qemu")->mend, "install");
    CHECK_INT(doctor_report_worst(report), DOCTOR_ERROR);
}

static void test_leftovers(void) {
    _cleanup_(strlist_free) StrList folders = {0}, vms = {0};
    DoctorInput input = input_of(NULL);
    DoctorCheck check = {0};
    char *tmp = path_join(home, "tmp"), *scratch = path_join(home, "tmp", "x");
    doctor_check_leftovers(&input, &check);
    CHECK_INT(check.status, DOCTOR_OK);
    CHECK_INT(path_make_folders(scratch, 0700), 0);
    doctor_check_leftovers(&input, &check);
    CHECK_INT(check.status, DOCTOR_INFO);
    CHECK_STR(check.found, "1 scratch entry in tmp/");
    strlist_add(&vms, "web1");
    strlist_add_many(&folders, "a", "b", NULL);
    input.stray_folders = &folders;
    input.stray_vms = &vms;
    doctor_check_leftovers(&input, &check);
    CHECK_INT(check.status, DOCTOR_WARNING);
    CHECK_STR(check.found, "folders of no VM: a, b; VMs that should run and have no keeper: web1");
    doctor_check_set(&check, DOCTOR_OK, NULL, NULL);
    CHECK_INT(path_remove_tree(tmp), 0);
    free(tmp);
    free(scratch);
}

/* What is missing is named with what it is for, and its package once. */
static void test_tools(void) {
    DoctorInput input = input_of(NULL);
    DoctorCheck check = {0};
    char *path = str_copy(getenv("PATH") ? getenv("PATH") : "");
    CHECK_INT(setenv("PATH", "/nowhere", 1), 0);
    doctor_check_tools(&input, &check);
    CHECK_INT(check.status, DOCTOR_WARNING);
    CHECK_CONTAINS(check.found, "mmdebstrap (image build --from debian)");
    CHECK(!strstr(check.found, "mke2fs")); /* in /usr/sbin, which is looked into always */
    CHECK_INT(strstr(check.found, "newuidmap") != NULL, geteuid() != 0);
    CHECK_INT(strstr(check.mend, " uidmap") != NULL, geteuid() != 0);
    CHECK_INT(strstr(check.mend, " fakeroot") != NULL, geteuid() != 0);
    if (geteuid() == 0 && seteuid(12345) == 0) {
        doctor_check_tools(&input, &check);
        CHECK_CONTAINS(check.found, "newuidmap (image build --from debian, for this user)");
        CHECK_CONTAINS(check.mend, "apt-get install fakeroot mmdebstrap uidmap");
        CHECK_INT(seteuid(0), 0);
    }
    doctor_check_set(&check, DOCTOR_OK, NULL, NULL);
    CHECK_INT(setenv("PATH", path, 1), 0);
    free(path);
}

static void test_socket_path(void) {
    DoctorInput input = input_of(NULL);
    DoctorCheck check = {0};
    char longer[200];
    doctor_check_socket(&input, &check);
    CHECK_INT(check.status, DOCTOR_OK);
    memset(longer, 'a', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    input.home = longer;
    doctor_check_socket(&input, &check);
    CHECK_INT(check.status, DOCTOR_WARNING);
    doctor_check_set(&check, DOCTOR_OK, NULL, NULL);
}

static void test_absent_home(void) {
    DoctorInput input = {.home = "/no/such/home"};
    DoctorCheck check = {0};
    doctor_check_file_system(&input, &check);
    CHECK_INT(check.status, DOCTOR_ERROR);
    doctor_check_disk(&input, &check);
    CHECK_INT(check.status, DOCTOR_ERROR);
    CHECK_CONTAINS(check.found, "/no/such/home");
    doctor_check_set(&check, DOCTOR_OK, NULL, NULL);
}

static void test_meminfo(void) {
    uint64_t bytes = 0;
    CHECK_INT(meminfo_find_bytes("MemTotal: 4 kB\nMemAvailable:   2 kB\n", "MemAvailable", &bytes),
              0);
    CHECK_INT(bytes, 2048);
    CHECK_INT(meminfo_find_bytes("MemTotal: 4 kB", "MemAvailable", &bytes), -ENOENT);
    CHECK_INT(meminfo_find_bytes("MemTotal: x kB", "MemTotal", &bytes), -EBADMSG);
    CHECK_INT(meminfo_find_bytes("", "MemTotal", &bytes), -ENOENT);
}

int main(void) {
    CHECK(mkdtemp(home));
    RUN(test_report);
    RUN(test_accelerator);
    RUN(test_zygote);
    RUN(test_page_tracking);
    RUN(test_no_qemu);
    RUN(test_leftovers);
    RUN(test_tools);
    RUN(test_socket_path);
    RUN(test_absent_home);
    RUN(test_meminfo);
    CHECK_INT(path_remove_tree(home), 0);
    return 0;
}
