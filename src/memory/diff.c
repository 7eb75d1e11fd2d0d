/* SPDX-License-Identifier: Apache-2.0 */

/* Reading trusts nothing: the header, every run and the length of the file are checked before the
 * first page is written into a QEMU, since a diff may have been cut, flipped or made for another
 * VM. (The snapshot's SHA-256 guards the content.) */

#include "memory/diff.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

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

static int list_run(void *data, uint64_t first_page, uint64_t pages, const uint8_t *content) {
    while (pages > 0) {
        uint32_t n = (uint32_t)MIN_OF(pages, (uint64_t)UINT32_MAX);
        table_add(data, first_page, n, content ? RUN_CONTENT : RUN_ZERO);
        first_page += n;
        pages -= n;
    }
    return 0;
}

typedef struct DiffWriter {
    int fd;
    uint64_t offset;
} DiffWriter;

static int write_content(void *data, uint64_t first_page, uint64_t pages, const uint8_t *content) {
    DiffWriter *writer = data;
    if (!content)
        return 0;
    int r = fd_pwrite_full(writer->fd, content, pages * RAM_PAGE_SIZE, writer->offset);
    writer->offset += pages * RAM_PAGE_SIZE;
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

int memory_diff_write(const MemoryCapture *capture, int fd, Error *error) {
    DiffTable table = {0};
    int r = memory_capture_walk(capture, list_run, &table);
    DiffWriter writer = {.fd = fd, .offset = content_offset(table.n_runs)};
    if (r >= 0)
        r = ftruncate(fd, (off_t)(writer.offset + table.content_pages * RAM_PAGE_SIZE)) < 0 ? -errno
                                                                                            : 0;
    if (r >= 0)
        r = write_table(&table, memory_capture_ram_bytes(capture), fd);
    if (r >= 0)
        r = memory_capture_walk(capture, write_content, &writer);
    free(table.runs);
    if (r < 0)
        return error_set_errno(error, -r, "cannot write the dirty pages");
    return 0;
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

int memory_diff_patch(int fd, const GuestRam *ram, uint64_t *pages, Error *error) {
    _cleanup_(diff_unmap) DiffView view = {0};
    int r = diff_open(fd, ram->size_bytes, &view, error);
    const uint8_t *content = view.content;
    uint64_t patched = 0;
    for (uint32_t i = 0; r >= 0 && i < view.n_runs; i++) {
        uint64_t first = le64toh(view.runs[i].first_page), n = le32toh(view.runs[i].pages);
        patched += n;
        if (le32toh(view.runs[i].kind) == RUN_ZERO) {
            r = patch_zero_pages(ram, first, n, error);
            continue;
        }
        r = guest_ram_write(ram, first * RAM_PAGE_SIZE, content, n * RAM_PAGE_SIZE, error);
        content += n * RAM_PAGE_SIZE;
    }
    if (r < 0)
        return r;
    if (pages)
        *pages = patched;
    return 0;
}
