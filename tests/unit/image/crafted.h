/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_TESTS_IMAGE_CRAFTED_H
#define RAMET_TESTS_IMAGE_CRAFTED_H

/* Small kernels, modules, folders and files that the tests of src/image are made of. */

#include <elf.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/process/spawn.h"
#include "base/str.h"
#include "check.h"
#include "image/context.h"

static char crafted_folder[] = "/tmp/ramet-image-XXXXXX"; /* all of a test's files */

static pid_t crafted_owner;

static void crafted_remove(void) {
    if (getpid() == crafted_owner) /* not in a child */
        (void)path_remove_tree(crafted_folder);
}

static inline void crafted_begin(void) {
    CHECK(mkdtemp(crafted_folder));
    crafted_owner = getpid();
    (void)atexit(crafted_remove);
}

static inline char *crafted_path(const char *name) {
    return path_join(crafted_folder, name);
}

static inline void crafted_write(const char *path, const void *data, size_t size) {
    _cleanup_free_ char *parent = strndup(path, (size_t)(strrchr(path, '/') - path));
    CHECK_INT(path_make_folders(parent, 0755), 0);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    CHECK(fd >= 0);
    CHECK_INT(fd_write_full(fd, data, size), 0);
    CHECK_INT(close(fd), 0);
}

static inline void crafted_text(const char *path, const char *text) {
    crafted_write(path, text, strlen(text));
}

/* Runs a shell command in the test's folder. */
static inline void crafted_shell(const char *command) {
    _cleanup_free_ char *full = str_format("cd %s && %s", crafted_folder, command);
    CHECK_INT(system(full), 0);
}

static inline bool crafted_has(const char *program) {
    _cleanup_free_ char *path = path_find_program(program);
    return path != NULL;
}

/* A home of its own, so that tests do not meet. */
static inline ImageContext crafted_context(const char *name) {
    static char *homes[256]; /* kept to the end of the program */
    static size_t count;
    size_t i = __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED);
    CHECK(i < ARRAY_SIZE(homes));
    char *home = homes[i] = crafted_path(name);
    CHECK_INT(path_make_folders(home, 0700), 0);
    return (ImageContext){.home = home, .cancel_fd = -1};
}

/* An ELF program of `size` bytes with one segment. */
static inline void crafted_elf(uint8_t *data, size_t size) {
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_phoff = sizeof(header),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = 1,
    };
    Elf64_Phdr segment = {.p_type = PT_LOAD, .p_filesz = size};
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    memcpy(data, &header, sizeof(header));
    memcpy(data + sizeof(header), &segment, sizeof(segment));
}

enum { CRAFTED_PAYLOAD = 1024 + 64, CRAFTED_ELF_BYTES = 20000 };

/* A bzImage around a packed payload: one set-up sector, 64 bytes of stub. Returns its size. */
static inline size_t crafted_bzimage(const void *payload, size_t payload_size, uint8_t *data) {
    memset(data, 0, CRAFTED_PAYLOAD);
    data[0x1f1] = 1;
    data[0x1fe] = 0x55;
    data[0x1ff] = 0xaa;
    memcpy(data + 0x202, "HdrS", 4);
    data[0x206] = 0x0f;
    data[0x207] = 0x02;
    data[0x20e] = 0x80;
    data[0x20f] = 0x01; /* the version's string is at 0x200 + 0x180 */
    memcpy(data + 0x380, "6.1.0-test (someone) #1", 24);
    uint32_t offset = 64, length = (uint32_t)payload_size;
    memcpy(data + 0x248, &offset, 4);
    memcpy(data + 0x24c, &length, 4);
    memcpy(data + CRAFTED_PAYLOAD, payload, payload_size);
    return CRAFTED_PAYLOAD + payload_size;
}

/* Packs a crafted ELF kernel with a shell command and writes a bzImage to `name` in the folder. */
static inline char *crafted_kernel(const char *name, const char *packer, bool own_size) {
    static uint8_t elf[CRAFTED_ELF_BYTES], image[CRAFTED_PAYLOAD + 4 * CRAFTED_ELF_BYTES];
    _cleanup_free_ char *plain = crafted_path("kernel.elf"),
                        *packed = crafted_path("kernel.packed");
    crafted_elf(elf, sizeof(elf));
    crafted_write(plain, elf, sizeof(elf));
    _cleanup_free_ char *command = str_format("%s < kernel.elf > kernel.packed", packer);
    crafted_shell(command);
    _cleanup_free_ char *data = NULL;
    size_t size;
    CHECK_INT(fd_read_file_at(AT_FDCWD, packed, MIB, &data, &size), 0);
    StrBuf payload = {0};
    uint32_t unpacked = sizeof(elf);
    strbuf_add(&payload, data, size);
    if (!own_size)
        strbuf_add(&payload, (const char *)&unpacked, sizeof(unpacked));
    size = crafted_bzimage(payload.data, payload.size, image);
    strbuf_free(&payload);
    char *path = crafted_path(name);
    crafted_write(path, image, size);
    return path;
}

/* A folder as /lib/modules/VERSION with the modules that a guest needs; packed with `packer` when
 * suffix is not empty. */
static inline char *crafted_modules(const char *name, const char *suffix, const char *packer) {
    static const char *const modules[] = {"virtio", "virtio_mmio", "virtio_blk", "virtio_console",
                                          "virtio_net"};
    char *folder = crafted_path(name);
    _cleanup_free_ char *dep = path_join(folder, "modules.dep");
    StrBuf text = {0};
    for (size_t i = 0; i < ARRAY_SIZE(modules); i++) {
        _cleanup_free_ char *file = str_format("%s/kernel/%s.ko", folder, modules[i]);
        crafted_text(file, modules[i]);
        if (*suffix) {
            _cleanup_free_ char *command = str_format("%s %s", packer, file);
            crafted_shell(command);
        }
        strbuf_add_format(&text, "kernel/%s.ko%s:%s%s\n", modules[i], suffix,
                          i ? " kernel/virtio.ko" : "", i ? suffix : "");
    }
    crafted_text(dep, text.data);
    strbuf_free(&text);
    _cleanup_free_ char *builtin = path_join(folder, "modules.builtin");
    crafted_text(builtin, "kernel/fs/ext4/ext4.ko\n");
    return folder;
}

/* A file that was written this very second gets no record, and the time when it was
 * written last cannot be set: waits for the clock to move on. */
static inline void crafted_await_settled(void) {
    uint64_t until = clock_realtime_usec() + USEC_PER_SEC + USEC_PER_SEC / 10;
    while (clock_realtime_usec() < until)
        (void)usleep(10000);
}

#endif
