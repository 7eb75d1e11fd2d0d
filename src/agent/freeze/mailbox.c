/* SPDX-License-Identifier: Apache-2.0 */
/* The page is shared memory, so that no fork moves it (copy on write), and locked. Its place is
 * what /proc/self/pagemap tells: Linux, Documentation/admin-guide/mm/pagemap.rst. */

#include "agent/freeze/mailbox.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "agent/base/util.h"
#include "proto/agent.h"

#define PAGEMAP_PRESENT (UINT64_C(1) << 63)
#define PAGEMAP_FRAME ((UINT64_C(1) << 55) - 1)
#define POLLS 4000 /* system calls in between cost a clone that resumes in one */

static volatile AgentMailbox *box; /* NULL: not made yet */

static uint64_t physical_address(const volatile void *address) {
    _cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint64_t entry = 0;
    off_t offset = (off_t)((uintptr_t)address / AGENT_MAILBOX_SIZE * sizeof(entry));
    if (fd < 0 || pread(fd, &entry, sizeof(entry), offset) != (ssize_t)sizeof(entry) ||
        !(entry & PAGEMAP_PRESENT))
        return 0;
    return (entry & PAGEMAP_FRAME) * AGENT_MAILBOX_SIZE;
}

static bool make(void) {
    void *page = box ? (void *)(uintptr_t)box
                     : mmap(NULL, AGENT_MAILBOX_SIZE, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
    box = page == MAP_FAILED ? NULL : page;
    return box != NULL;
}

uint64_t mailbox_open(const uint8_t *marker) {
    if (!make())
        return 0;
    box->size = box->wants_answers = box->answered = 0;
    memcpy((void *)(uintptr_t)box->marker, marker, AGENT_MARKER_SIZE);
    return physical_address(box);
}

void mailbox_close(void) {
    if (box)
        memset((void *)(uintptr_t)box->marker, 0, AGENT_MARKER_SIZE);
}

size_t mailbox_wait(const uint8_t **bytes) {
    if (!box)
        return 0;
    for (unsigned i = 0; i < POLLS; i++) {
        size_t size = __atomic_load_n(&box->size, __ATOMIC_ACQUIRE);
        if (size == 0)
            continue;
        box->size = 0;
        mailbox_close();
        *bytes = (const uint8_t *)(uintptr_t)box->bytes;
        return MIN_OF(size, sizeof(box->bytes));
    }
    return 0;
}

size_t mailbox_answer(const uint8_t *bytes, size_t size) {
    size_t answered = box ? box->answered : 0;
    if (!box || !box->wants_answers || answered > sizeof(box->answers) ||
        size > sizeof(box->answers) - answered)
        return 0;
    memcpy((void *)(uintptr_t)(box->answers + answered), bytes, size);
    __atomic_store_n(&box->answered, (uint32_t)(answered + size), __ATOMIC_RELEASE);
    return size;
}
