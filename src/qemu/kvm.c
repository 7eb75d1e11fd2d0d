/* SPDX-License-Identifier: Apache-2.0 */

/* The accelerator probe proper: the smallest VM that runs 64-bit code. One slot of memory holds
 * three page tables that map the first 2 MiB onto themselves, and ten bytes of code: a counting
 * loop and hlt.
 *
 * A timer's signal ends KVM_RUN at the budget. The handler also sets run->immediate_exit, so a
 * signal that comes just before KVM_RUN is not lost (Documentation/virt/kvm/api.rst, 5. The kvm_run
 * structure).
 *
 * The verdict is by the processor time that the loop took and not by the clock on the wall: on a
 * busy host a good KVM may get too little of the processor to finish in the budget. */

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "qemu/kvm.h"

#define GUEST_MEMORY 0x5000u
#define GUEST_PML4 0x1000u /* Intel SDM volume 3, 4.5: 4-level paging */
#define GUEST_PDPT 0x2000u
#define GUEST_PD 0x3000u
#define GUEST_CODE 0x4000u

#define PTE_PRESENT_WRITABLE 3u
#define PDE_LARGE 0x80u
#define CR0_PE_PG 0x80000001u
#define CR4_PAE 0x20u
#define EFER_LME_LMA 0x500u

/* A turn takes a cycle or two on hardware: 1000 and more a microsecond. Interpreters manage about
 * one. */
#define TURNS_PER_USEC_LEAST 20u

typedef struct KvmProbe {
    int device_fd, vm_fd, cpu_fd; /* owned */
    uint8_t *memory;              /* owned mapping */
    struct kvm_run *run;          /* owned mapping */
    size_t run_size;
} KvmProbe;

static struct kvm_run *volatile interrupted_run;

static void on_alarm(int signal) {
    struct kvm_run *run = interrupted_run;
    if (run)
        run->immediate_exit = 1;
}

static void kvm_close(KvmProbe *kvm) {
    interrupted_run = NULL;
    if (kvm->run)
        (void)munmap(kvm->run, kvm->run_size);
    if (kvm->memory)
        (void)munmap(kvm->memory, GUEST_MEMORY);
    (void)fd_close(kvm->cpu_fd);
    (void)fd_close(kvm->vm_fd);
    (void)fd_close(kvm->device_fd);
}

/* Notes which step failed; returns the negative errno. */
static int failed(AccelProbe *probe, const char *step) {
    probe->errnum = errno;
    (void)snprintf(probe->step, sizeof(probe->step), "%s", step);
    return -errno;
}

static int open_device(KvmProbe *kvm, const char *device, AccelProbe *probe) {
    kvm->device_fd = open(device, O_RDWR | O_CLOEXEC);
    if (kvm->device_fd >= 0)
        return 0;
    (void)failed(probe, "open");
    if (errno == ENOENT || errno == ENXIO || errno == ENODEV || errno == ENOTDIR)
        probe->outcome = ACCEL_OUTCOME_NO_DEVICE;
    else if (errno == EACCES || errno == EPERM)
        probe->outcome = ACCEL_OUTCOME_NO_PERMISSION;
    return -probe->errnum;
}

static void put_u64(uint8_t *at, uint64_t value) {
    memcpy(at, &value, sizeof(value));
}

static void fill_memory(uint8_t *memory) {
    /* mov ecx, ACCEL_LOOP_TURNS; 1: dec ecx; jnz 1b; hlt */
    static const uint8_t code[] = {0xb9,
                                   ACCEL_LOOP_TURNS & 0xff,
                                   ACCEL_LOOP_TURNS >> 8 & 0xff,
                                   ACCEL_LOOP_TURNS >> 16 & 0xff,
                                   0,
                                   0xff,
                                   0xc9,
                                   0x75,
                                   0xfc,
                                   0xf4};
    put_u64(memory + GUEST_PML4, GUEST_PDPT | PTE_PRESENT_WRITABLE);
    put_u64(memory + GUEST_PDPT, GUEST_PD | PTE_PRESENT_WRITABLE);
    put_u64(memory + GUEST_PD, PDE_LARGE | PTE_PRESENT_WRITABLE);
    memcpy(memory + GUEST_CODE, code, sizeof(code));
}

static int make_vm(KvmProbe *kvm, AccelProbe *probe) {
    struct kvm_userspace_memory_region region = {.memory_size = GUEST_MEMORY};
    void *memory;
    kvm->vm_fd = ioctl(kvm->device_fd, KVM_CREATE_VM, 0);
    if (kvm->vm_fd < 0)
        return failed(probe, "KVM_CREATE_VM");
    memory = mmap(NULL, GUEST_MEMORY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return failed(probe, "mmap");
    kvm->memory = memory;
    fill_memory(kvm->memory);
    region.userspace_addr = (uintptr_t)memory;
    if (ioctl(kvm->vm_fd, KVM_SET_USER_MEMORY_REGION, &region) < 0)
        return failed(probe, "KVM_SET_USER_MEMORY_REGION");
    (void)ioctl(kvm->vm_fd, KVM_SET_TSS_ADDR,
                0xfffbd000ul); /* only some old Intel processors need it */
    return 0;
}

/* Without the processor's features, KVM may refuse long mode. */
static int set_cpuid(KvmProbe *kvm, AccelProbe *probe) {
    enum { ENTRIES = 256 };
    size_t size = sizeof(struct kvm_cpuid2) + ENTRIES * sizeof(struct kvm_cpuid_entry2);
    _cleanup_free_ struct kvm_cpuid2 *cpuid = calloc(1, size);
    if (!cpuid)
        abort();
    cpuid->nent = ENTRIES;
    if (ioctl(kvm->device_fd, KVM_GET_SUPPORTED_CPUID, cpuid) < 0)
        return failed(probe, "KVM_GET_SUPPORTED_CPUID");
    if (ioctl(kvm->cpu_fd, KVM_SET_CPUID2, cpuid) < 0)
        return failed(probe, "KVM_SET_CPUID2");
    return 0;
}

static int set_registers(KvmProbe *kvm, AccelProbe *probe) {
    struct kvm_segment code = {
        .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    struct kvm_segment data = {
        .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
    struct kvm_regs regs = {.rip = GUEST_CODE, .rflags = 2};
    struct kvm_sregs sregs;
    if (ioctl(kvm->cpu_fd, KVM_GET_SREGS, &sregs) < 0)
        return failed(probe, "KVM_GET_SREGS");
    sregs.cs = code;
    sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
    sregs.cr0 |= CR0_PE_PG;
    sregs.cr3 = GUEST_PML4;
    sregs.cr4 |= CR4_PAE;
    sregs.efer |= EFER_LME_LMA;
    if (ioctl(kvm->cpu_fd, KVM_SET_SREGS, &sregs) < 0)
        return failed(probe, "KVM_SET_SREGS");
    return ioctl(kvm->cpu_fd, KVM_SET_REGS, &regs) < 0 ? failed(probe, "KVM_SET_REGS") : 0;
}

static int make_cpu(KvmProbe *kvm, AccelProbe *probe) {
    int size = ioctl(kvm->device_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
    void *run;
    int r;
    if (size < (int)sizeof(struct kvm_run))
        return failed(probe, "KVM_GET_VCPU_MMAP_SIZE");
    kvm->cpu_fd = ioctl(kvm->vm_fd, KVM_CREATE_VCPU, 0);
    if (kvm->cpu_fd < 0)
        return failed(probe, "KVM_CREATE_VCPU");
    kvm->run_size = (size_t)size;
    run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, kvm->cpu_fd, 0);
    if (run == MAP_FAILED)
        return failed(probe, "mmap");
    interrupted_run = kvm->run = run;
    r = set_cpuid(kvm, probe);
    return r < 0 ? r : set_registers(kvm, probe);
}

static uint64_t thread_usec(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

static void set_timer(uint64_t usec) {
    struct itimerval timer = {.it_value.tv_usec = (suseconds_t)usec,
                              .it_interval.tv_usec = (suseconds_t)usec / 4};
    struct sigaction action = {.sa_handler = on_alarm}; /* no SA_RESTART: KVM_RUN must return */
    (void)sigaction(SIGALRM, &action, NULL);
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

/* 0 when the loop came to its end, -EINTR when the timer ended it. */
static int run_loop(KvmProbe *kvm, AccelProbe *probe) {
    uint64_t start = thread_usec();
    struct kvm_regs regs;
    int r;
    set_timer(ACCEL_LOOP_BUDGET_USEC);
    r = ioctl(kvm->cpu_fd, KVM_RUN, 0) < 0 ? -errno : 0;
    set_timer(0);
    probe->guest_usec = thread_usec() - start;
    errno = -r;
    if (r < 0 && r != -EINTR)
        return failed(probe, "KVM_RUN");
    if (ioctl(kvm->cpu_fd, KVM_GET_REGS, &regs) < 0)
        return failed(probe, "KVM_GET_REGS");
    if (regs.rcx <= ACCEL_LOOP_TURNS && regs.rip > GUEST_CODE)
        probe->turns = ACCEL_LOOP_TURNS - regs.rcx;
    if (r == 0 && (kvm->run->exit_reason != KVM_EXIT_HLT || regs.rcx != 0)) {
        errno = EPROTO;
        return failed(probe, "KVM_RUN");
    }
    return r;
}

static int run_guest(KvmProbe *kvm, const char *device, AccelProbe *probe) {
    int r = open_device(kvm, device, probe);
    if (r == 0)
        r = make_vm(kvm, probe);
    if (r == 0)
        r = make_cpu(kvm, probe);
    return r < 0 ? r : run_loop(kvm, probe);
}

void accel_probe_run(const char *device, AccelProbe *probe) {
    KvmProbe kvm = {.device_fd = -1, .vm_fd = -1, .cpu_fd = -1};
    uint64_t start = clock_monotonic_usec();
    int r;
    *probe = (AccelProbe){.outcome = ACCEL_OUTCOME_BROKEN};
    r = run_guest(&kvm, device ? device : "/dev/kvm", probe);
    if (r == 0 ||
        (r == -EINTR && probe->turns / TURNS_PER_USEC_LEAST >= MAX_OF(probe->guest_usec, 1u)))
        probe->outcome = ACCEL_OUTCOME_WORKS;
    else if (r == -EINTR)
        probe->outcome = ACCEL_OUTCOME_INTERPRETED;
    kvm_close(&kvm);
    probe->duration_usec = clock_monotonic_usec() - start;
}
