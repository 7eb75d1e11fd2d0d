/* SPDX-License-Identifier: Apache-2.0 */

/* Reading trusts nothing: the header, every run and the length of the file are checked before the
 * first page is written into a QEMU, since a diff may have been cut, flipped or made for another
 * VM. (The snapshot's SHA-256 guards the content.) */

#include "memory/diff.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "memory/copy.h"

#define DIFF_MAGIC "RAMETMD1"
#define DIFF_HEADER_SIZE 32
#define RUN_ZERO 0u
#define RUN_CONTENT 1u

typedef struct DiffRun {
    uint64_t first_page; /* little-endian, as all of it */
    uint32_t pages;
    uint32_t kind;
} DiffRun;

typedef struct DiffHeader {
    char magic[8];
    uint32_t page_size;
    uint32_t n_runs;
    uint64_t ram_bytes;
    uint64_t content_pages;
} DiffHeader;

_Static_assert(sizeof(DiffHeader) == DIFF_HEADER_SIZE && sizeof(DiffRun) == 16, "file format");

static uint64_t content_offset(uint32_t n_runs) {
    uint64_t end = DIFF_HEADER_SIZE + (uint64_t)n_runs * sizeof(DiffRun);
    return (end + RAM_PAGE_SIZE - 1) / RAM_PAGE_SIZE * RAM_PAGE_SIZE;
}

typedef struct DiffTable {
    DiffRun *runs; /* owned */
    uint32_t n_runs;
    uint32_t room;
    uint64_t content_pages;
} DiffTable;

static void table_add(DiffTable *table, uint64_t first, uint32_t pages, uint32_t kind) {
    if (table->n_runs == table->room) {
        table->room = table->room ? 2 * table->room : 256;
        table->runs = reallocarray(table->runs, table->room, sizeof(DiffRun));
        if (!table->runs)
            abort();
    }
    table->runs[table->n_runs++] =
        (DiffRun){.first_page = htole64(first), .pages = htole32(pages), .kind = htole32(kind)};
    table->content_pages += kind == RUN_CONTENT ? pages : 0;
}

static void list_run(DiffTable *table, uint64_t first, uint64_t pages, uint32_t kind) {
    while (pages > 0) {
        uint32_t n = (uint32_t)MIN_OF(pages, (uint64_t)UINT32_MAX);
        table_add(table, first, n, kind);
        first += n;
        pages -= n;
    }
}

static void list_runs(const MemoryCapture *capture, DiffTable *table) {
    uint64_t all = capture->pages.pages, page = 0, first, count, end;
    while (page_set_next(&capture->pages, true, page, all, &first, &count)) {
        end = first + count;
        for (page = first; page < end; page += count) {
            bool zero = page_set_has(&capture->zero, page);
            (void)page_set_next(&capture->zero, zero, page, end, &first, &count);
            list_run(table, page, count, zero ? RUN_ZERO : RUN_CONTENT);
        }
    }
}

static int write_content(const DiffTable *table, int memfd, int fd, uint64_t offset) {
    int r = 0;
    for (uint32_t i = 0; r >= 0 && i < table->n_runs; i++) {
        uint64_t bytes = le32toh(table->runs[i].pages) * RAM_PAGE_SIZE;
        if (le32toh(table->runs[i].kind) == RUN_ZERO)
            continue;
        r = memory_copy_range(memfd, le64toh(table->runs[i].first_page) * RAM_PAGE_SIZE, fd, offset,
                              bytes);
        offset += bytes;
    }
    return r;
}

static int write_table(const DiffTable *table, uint64_t ram_bytes, int fd) {
    DiffHeader header = {
        .page_size = htole32((uint32_t)RAM_PAGE_SIZE),
        .n_runs = htole32(table->n_runs),
        .ram_bytes = htole64(ram_bytes),
        .content_pages = htole64(table->content_pages),
    };
    memcpy(header.magic, DIFF_MAGIC, sizeof(header.magic));
    int r = fd_pwrite_full(fd, &header, sizeof(header), 0);
    if (r >= 0 && table->n_runs > 0)
        r = fd_pwrite_full(fd, table->runs, table->n_runs * sizeof(DiffRun), DIFF_HEADER_SIZE);
    return r;
}

static int write_diff(const DiffTable *table, uint64_t ram_bytes, int memfd, int fd, Error *error) {
    uint64_t start = content_offset(table->n_runs);
    int r = ftruncate(fd, (off_t)(start + table->content_pages * RAM_PAGE_SIZE)) < 0 ? -errno : 0;
    if (r >= 0)
        r = write_table(table, ram_bytes, fd);
    if (r >= 0)
        r = write_content(table, memfd, fd, start);
    return r < 0 ? error_set_errno(error, -r, "cannot write the dirty pages") : 0;
}

int memory_diff_write(const MemoryCapture *capture, int fd, Error *error) {
    DiffTable table = {0};
    list_runs(capture, &table);
    int r = write_diff(&table, capture->ram->size_bytes, capture->memfd, fd, error);
    free(table.runs);
    return r;
}

/* ---- of two whole memories ---- */

#define COMPARE_BYTES ((size_t)MIB)

typedef struct Compare {
    DiffTable table;
    uint64_t first, pages; /* the run that is being made */
    uint32_t kind;
} Compare;

static void end_run(Compare *compare) {
    list_run(&compare->table, compare->first, compare->pages, compare->kind);
    compare->pages = 0;
}

static void add_page(Compare *compare, uint64_t page, uint32_t kind) {
    if (compare->pages > 0 && (compare->first + compare->pages != page || compare->kind != kind))
        end_run(compare);
    if (compare->pages == 0) {
        compare->first = page;
        compare->kind = kind;
    }
    compare->pages++;
}

static int compare_chunk(Compare *compare, int base_fd, int memfd, uint64_t at, size_t size,
                         uint8_t *then, uint8_t *now) {
    ssize_t a = fd_pread_full(base_fd, then, size, at), b = fd_pread_full(memfd, now, size, at);
    if (a != (ssize_t)size || b != (ssize_t)size)
        return a < 0 ? (int)a : b < 0 ? (int)b : -EIO;
    for (size_t offset = 0; offset < size; offset += RAM_PAGE_SIZE)
        if (memcmp(then + offset, now + offset, RAM_PAGE_SIZE) != 0)
            add_page(compare, (at + offset) / RAM_PAGE_SIZE,
                     bytes_are_zero(now + offset, RAM_PAGE_SIZE) ? RUN_ZERO : RUN_CONTENT);
    return 0;
}

/* Where both are holes nothing differs. */
static int compare_all(Compare *compare, int base_fd, int memfd, uint64_t ram_bytes) {
    _cleanup_free_ uint8_t *then = malloc(COMPARE_BYTES), *now = malloc(COMPARE_BYTES);
    int r = 0;
    if (!then || !now)
        return -ENOMEM;
    for (uint64_t at = 0; r >= 0 && at < ram_bytes; at += COMPARE_BYTES) {
        uint64_t a, b, end;
        fd_find_data(base_fd, at, ram_bytes, &a, &end);
        fd_find_data(memfd, at, ram_bytes, &b, &end);
        at = MIN_OF(a, b) / COMPARE_BYTES * COMPARE_BYTES;
        if (MIN_OF(a, b) >= ram_bytes)
            break;
        r = compare_chunk(compare, base_fd, memfd, at,
                          (size_t)MIN_OF((uint64_t)COMPARE_BYTES, ram_bytes - at), then, now);
    }
    end_run(compare);
    return r;
}

int memory_diff_compare(int base_fd, int memfd, uint64_t ram_bytes, int fd, Error *error) {
    Compare compare = {0};
    int r = compare_all(&compare, base_fd, memfd, ram_bytes);
    r = r < 0 ? error_set_errno(error, -r, "cannot compare memories")
              : write_diff(&compare.table, ram_bytes, memfd, fd, error);
    free(compare.table.runs);
    return r;
}

/* A whole diff, mapped. */
typedef struct DiffView {
    const uint8_t *data; /* owned mapping */
    size_t size;
    const DiffRun *runs; /* borrowed from data */
    uint32_t n_runs;
    const uint8_t *content; /* borrowed from data */
} DiffView;

static void diff_unmap(DiffView *view) {
    if (view->data)
        (void)munmap((void *)view->data, view->size);
}

static int diff_map(int fd, DiffView *view, Error *error) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set_errno(error, errno, "cannot look at a memory diff");
    if (status.st_size < DIFF_HEADER_SIZE)
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "a memory diff of %" PRId64 " bytes is too short",
                         (int64_t)status.st_size);
    void *data = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return error_set_errno(error, errno, "cannot map a memory diff");
    view->data = data;
    view->size = (size_t)status.st_size;
    return 0;
}

static int diff_check_header(DiffView *view, uint64_t ram_bytes, Error *error) {
    const DiffHeader *header = (const DiffHeader *)(const void *)view->data;
    if (memcmp(header->magic, DIFF_MAGIC, sizeof(header->magic)) != 0 ||
        le32toh(header->page_size) != RAM_PAGE_SIZE)
        return error_set(error, ERROR_CORRUPT, EBADMSG, "this is no memory diff");
    if (le64toh(header->ram_bytes) != ram_bytes)
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "the memory diff is for %" PRIu64 " bytes of RAM, not %" PRIu64,
                         le64toh(header->ram_bytes), ram_bytes);
    uint64_t start = content_offset(le32toh(header->n_runs));
    uint64_t pages = le64toh(header->content_pages);
    if (pages > ram_bytes / RAM_PAGE_SIZE || view->size != start + pages * RAM_PAGE_SIZE)
        return error_set(error, ERROR_CORRUPT, EBADMSG,
                         "the memory diff was cut: it has %zu bytes, not %" PRIu64, view->size,
                         start + pages * RAM_PAGE_SIZE);
    view->runs = (const DiffRun *)(const void *)(view->data + DIFF_HEADER_SIZE);
    view->n_runs = le32toh(header->n_runs);
    view->content = view->data + start;
    return 0;
}

static int diff_check_runs(const DiffView *view, uint64_t ram_bytes, Error *error) {
    uint64_t next = 0, content = 0, limit = ram_bytes / RAM_PAGE_SIZE;
    const DiffHeader *header = (const DiffHeader *)(const void *)view->data;
    for (uint32_t i = 0; i < view->n_runs; i++) {
        uint64_t first = le64toh(view->runs[i].first_page), pages = le32toh(view->runs[i].pages);
        uint32_t kind = le32toh(view->runs[i].kind);
        if (first < next || pages == 0 || first > limit || pages > limit - first ||
            kind > RUN_CONTENT)
            return error_set(error, ERROR_CORRUPT, EBADMSG,
                             "run %" PRIu32 " of the memory diff makes no sense", i);
        next = first + pages;
        content += kind == RUN_CONTENT ? pages : 0;
    }
    if (content != le64toh(header->content_pages))
        return error_set(error, ERROR_CORRUPT, EBADMSG, "the memory diff's page counts disagree");
    return 0;
}

static int diff_open(int fd, uint64_t ram_bytes, DiffView *view, Error *error) {
    int r = diff_map(fd, view, error);
    if (r >= 0)
        r = diff_check_header(view, ram_bytes, error);
    if (r >= 0)
        r = diff_check_runs(view, ram_bytes, error);
    return r;
}

int memory_diff_check(int fd, uint64_t ram_bytes, Error *error) {
    _cleanup_(diff_unmap) DiffView view = {0};
    return diff_open(fd, ram_bytes, &view, error);
}

static int patch_zero_pages(const GuestRam *ram, uint64_t first, uint64_t pages, Error *error) {
    static const uint8_t zeroes[16 * 4096];
    uint64_t offset = first * RAM_PAGE_SIZE, left = pages * RAM_PAGE_SIZE;
    while (left > 0) {
        size_t n = MIN_OF(left, (uint64_t)sizeof(zeroes));
        int r = guest_ram_write(ram, offset, zeroes, n, error);
        if (r < 0)
            return r;
        offset += n;
        left -= n;
    }
    return 0;
}

int memory_diff_patch(int fd, const GuestRam *ram, Error *error) {
    _cleanup_(diff_unmap) DiffView view = {0};
    int r = diff_open(fd, ram->size_bytes, &view, error);
    const uint8_t *content = view.content;
    for (uint32_t i = 0; r >= 0 && i < view.n_runs; i++) {
        uint64_t first = le64toh(view.runs[i].first_page), n = le32toh(view.runs[i].pages);
        if (le32toh(view.runs[i].kind) == RUN_ZERO) {
            r = patch_zero_pages(ram, first, n, error);
            continue;
        }
        r = guest_ram_write(ram, first * RAM_PAGE_SIZE, content, n * RAM_PAGE_SIZE, error);
        content += n * RAM_PAGE_SIZE;
    }
    return MIN_OF(r, 0);
}

/* ---- into a memfd ---- */

struct MemoryDiff {
    DiffView view;
    uint64_t *starts; /* owned: where in the file each run's content is, or would be */
    int memfd;        /* borrowed */
};

void memory_diff_close(MemoryDiff *diff) {
    if (!diff)
        return;
    diff_unmap(&diff->view);
    free(diff->starts);
    free(diff);
}

static uint64_t run_bytes(const DiffRun *run) {
    return le32toh(run->pages) * RAM_PAGE_SIZE;
}

static void find_starts(MemoryDiff *diff) {
    uint64_t at = (uint64_t)(diff->view.content - diff->view.data);
    diff->starts = calloc((size_t)diff->view.n_runs + 1, sizeof(*diff->starts));
    if (!diff->starts)
        abort();
    for (uint32_t i = 0; i < diff->view.n_runs; i++) {
        diff->starts[i] = at;
        at += le32toh(diff->view.runs[i].kind) == RUN_ZERO ? 0 : run_bytes(&diff->view.runs[i]);
    }
    diff->starts[diff->view.n_runs] = at;
}

static int clear_pages(const MemoryDiff *diff) {
    for (uint32_t i = 0; i < diff->view.n_runs; i++) {
        const DiffRun *run = &diff->view.runs[i];
        if (fallocate(diff->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                      (off_t)(le64toh(run->first_page) * RAM_PAGE_SIZE), (off_t)run_bytes(run)) < 0)
            return -errno;
    }
    return 0;
}

int memory_diff_open(int fd, uint64_t ram_bytes, int memfd, MemoryDiff **diff, Error *error) {
    _cleanup_(memory_diff_close_p) MemoryDiff *opened = calloc(1, sizeof(*opened));
    if (!opened)
        abort();
    opened->memfd = memfd;
    int r = diff_open(fd, ram_bytes, &opened->view, error);
    if (r < 0)
        return r;
    find_starts(opened);
    r = clear_pages(opened);
    if (r < 0)
        return error_set_errno(error, -r, "cannot clear pages of a memfd");
    *diff = TAKE_PTR(opened);
    return 0;
}

/* The run whose content is at that offset of the file, or begins after it. */
static uint32_t find_run(const MemoryDiff *diff, uint64_t offset) {
    uint32_t low = 0, high = diff->view.n_runs;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (diff->starts[middle + 1] <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int memory_diff_store(void *data, uint64_t offset, const uint8_t *bytes, size_t size) {
    const MemoryDiff *diff = data;
    uint64_t end = offset + size;
    for (uint32_t i = find_run(diff, offset); i < diff->view.n_runs; i++) {
        uint64_t start = MAX_OF(diff->starts[i], offset), stop = MIN_OF(diff->starts[i + 1], end);
        uint64_t page = le64toh(diff->view.runs[i].first_page);
        if (diff->starts[i] >= end)
            break;
        if (start >= stop)
            continue;
        int r = fd_pwrite_full(diff->memfd, bytes + (start - offset), stop - start,
                               page * RAM_PAGE_SIZE + (start - diff->starts[i]));
        if (r < 0)
            return r;
    }
    return 0;
}
