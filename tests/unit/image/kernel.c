/* SPDX-License-Identifier: Apache-2.0 */
#include "image/kernel.h"

#include <dirent.h>
#include <errno.h>

#include "crafted.h"
#include "image/apt.h"
#include "image/direct/disk_kernel.h"
#include "image/initramfs.h"
#include "image/unpack.h"

static size_t count_files(const char *folder) {
    DIR *dir = opendir(folder);
    size_t count = 0;
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    if (dir)
        (void)closedir(dir);
    return count;
}

static void check_scratch_is_empty(const ImageContext *context) {
    _cleanup_free_ char *tmp = path_join(context->home, "tmp");
    CHECK_INT(count_files(tmp), 0);
}

static void test_bundle_of_files(void) {
    ImageContext context = crafted_context("home");
    _cleanup_free_ char *kernel = crafted_kernel("bz", "gzip -9", true);
    _cleanup_free_ char *modules = crafted_modules("mods", "", "");
    KernelSource source = {kernel, modules};
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_kernel_bundle_ KernelBundle bundle = {0}, again = {0};
    CHECK_INT(kernel_bundle_ensure(&context, &source, &bundle, &error), 0);
    CHECK_STR(bundle.version, "6.1.0-test");
    CHECK_INT(bundle.load.count, 5);
    CHECK_STR(bundle.load.items[0], "kernel/virtio.ko");
    CHECK(bundle.bzimage && access(bundle.bzimage, R_OK) == 0);
    struct stat st;
    CHECK_INT(stat(bundle.vmlinux, &st), 0);
    CHECK_INT(st.st_size, CRAFTED_ELF_BYTES);
    CHECK_INT(st.st_mode & 0777, 0444);
    CHECK_INT(kernel_bundle_ensure(&context, &source, &again, &error), 0);
    CHECK_STR(again.key, bundle.key);
    check_scratch_is_empty(&context);
}

static void test_changed_module_is_a_new_bundle(void) {
    ImageContext context = crafted_context("home");
    _cleanup_free_ char *kernel = crafted_kernel("bz", "gzip -9", true);
    _cleanup_free_ char *modules = crafted_modules("mods2", "", "");
    KernelSource source = {kernel, modules};
    _cleanup_kernel_bundle_ KernelBundle bundle = {0}, again = {0};
    CHECK_INT(kernel_bundle_ensure(&context, &source, &bundle, NULL), 0);
    _cleanup_free_ char *file = path_join(modules, "kernel/virtio.ko");
    crafted_text(file, "another");
    CHECK_INT(kernel_bundle_ensure(&context, &source, &again, NULL), 0);
    CHECK(strcmp(bundle.key, again.key) != 0);
}

static void test_plain_vmlinux(void) {
    static uint8_t elf[CRAFTED_ELF_BYTES];
    ImageContext context = crafted_context("home");
    _cleanup_free_ char *kernel = crafted_path("vmlinux");
    crafted_elf(elf, sizeof(elf));
    crafted_write(kernel, elf, sizeof(elf));
    KernelSource source = {kernel, NULL};
    _cleanup_kernel_bundle_ KernelBundle bundle = {0};
    CHECK_INT(kernel_bundle_ensure(&context, &source, &bundle, NULL), 0);
    CHECK(!bundle.bzimage && !bundle.modules);
    CHECK_STR(bundle.version, "custom");
}

static void check_refused(const char *kernel, ErrorKind kind) {
    ImageContext context = crafted_context("refused");
    KernelSource source = {kernel, NULL};
    _cleanup_error_ Error error = ERROR_INIT;
    KernelBundle bundle = {0};
    CHECK(kernel_bundle_ensure(&context, &source, &bundle, &error) < 0);
    CHECK_INT(error.kind, kind);
    CHECK(!bundle.folder);
    _cleanup_free_ char *kernels = path_join(context.home, "kernels");
    CHECK_INT(count_files(kernels), 0);
}

static void test_refused(void) {
    _cleanup_free_ char *text = crafted_path("text"), *gone = crafted_path("gone");
    crafted_text(text, "this is no kernel, whatever its name says");
    check_refused(text, ERROR_CORRUPT);
    check_refused(gone, ERROR_NOT_FOUND);
}

static void test_damaged_bundle(void) {
    ImageContext context = crafted_context("home");
    _cleanup_free_ char *kernel = crafted_kernel("bz", "gzip -9", true);
    KernelSource source = {kernel, NULL};
    _cleanup_kernel_bundle_ KernelBundle bundle = {0}, again = {0};
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK_INT(kernel_bundle_ensure(&context, &source, &bundle, NULL), 0);
    _cleanup_free_ char *json = path_join(bundle.folder, "kernel.json");
    (void)chmod(bundle.folder, 0755);
    (void)unlink(json);
    CHECK(kernel_bundle_open(context.home, bundle.key, &again, &error) < 0);
    CHECK_INT(error.kind, ERROR_NOT_FOUND);
    crafted_text(json, "{\"version\":\"../..\",\"load\":[]}");
    CHECK(kernel_bundle_open(context.home, bundle.key, &again, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    crafted_text(json, "{\"version\":\"1\",\"load\":[\"../../x.ko\"]}");
    CHECK(kernel_bundle_open(context.home, bundle.key, &again, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    CHECK(kernel_bundle_open(context.home, "../../etc", &again, &error) < 0);
    CHECK_INT(error.kind, ERROR_USAGE);
}

static void test_initramfs(void) {
    ImageContext context = crafted_context("home"), other = crafted_context("other");
    _cleanup_free_ char *kernel = crafted_kernel("bz", "gzip -9", true);
    _cleanup_free_ char *modules = crafted_modules("xzmods", ".xz", "xz");
    _cleanup_free_ char *agent = crafted_path("agent");
    KernelSource source = {kernel, modules};
    _cleanup_kernel_bundle_ KernelBundle bundle = {0}, same = {0};
    _cleanup_free_ char *path = NULL, *key = NULL, *path2 = NULL, *key2 = NULL, *path3 = NULL,
                        *key3 = NULL, *path4 = NULL, *key4 = NULL;
    crafted_text(agent, "agent one");
    CHECK_INT(kernel_bundle_ensure(&context, &source, &bundle, NULL), 0);
    CHECK_INT(kernel_bundle_ensure(&other, &source, &same, NULL), 0);
    CHECK_INT(initramfs_ensure(&context, &bundle, agent, false, &path, &key, NULL), 0);
    CHECK_INT(initramfs_ensure(&other, &same, agent, false, &path2, &key2, NULL), 0);
    CHECK_STR(key, key2);
    _cleanup_free_ char *compare = str_format("cmp %s %s", path, path2);
    crafted_shell(compare);
    crafted_text(agent, "agent two");
    CHECK_INT(initramfs_ensure(&context, &bundle, agent, false, &path3, &key3, NULL), 0);
    CHECK(strcmp(key, key3) != 0);
    CHECK_INT(initramfs_ensure(&context, &bundle, agent, true, &path4, &key4, NULL), 0);
    CHECK(strcmp(key3, key4) != 0);
    if (!crafted_has("cpio"))
        return;
    _cleanup_free_ char *list =
        str_format("cpio -it --quiet < %s > list && cpio -i --quiet --to-stdout init modules/order "
                   "modules/virtio_blk.ko < %s > content",
                   path, path);
    crafted_shell(list);
    crafted_shell(
        "printf "
        "'dev\\nmodules\\nproc\\nroot\\nrun\\nsys\\ndev/console\\ninit\\nmodules/virtio.ko\\n"
        "modules/virtio_mmio.ko\\nmodules/virtio_blk.ko\\nmodules/virtio_console.ko\\n"
        "modules/virtio_net.ko\\nmodules/order\\n' | cmp - list");
    crafted_shell("printf 'agent "
                  "onevirtio_blkvirtio.ko\\nvirtio_mmio.ko\\nvirtio_blk.ko\\nvirtio_console.ko\\n"
                  "virtio_net.ko\\n' | cmp - content");
}

static void test_no_agent(void) {
    ImageContext context = crafted_context("home");
    KernelBundle bundle = {.key = "x"};
    char *path = NULL, *key = NULL;
    _cleanup_error_ Error error = ERROR_INIT;
    CHECK(initramfs_ensure(&context, &bundle, "/nonexistent/agent", false, &path, &key, &error) <
          0);
    CHECK_INT(error.kind, ERROR_NOT_FOUND);
    CHECK(error.hint && !path && !key);
}

/* A package with links, devices and paths that lead out: only its plain files come out. */
static void test_deb(void) {
    static const char *const prefixes[] = {"boot/", NULL};
    if (!crafted_has("ar"))
        return;
    ImageContext context = crafted_context("home");
    _cleanup_error_ Error error = ERROR_INIT;
    _cleanup_free_ char *deb = crafted_path("p.deb"), *out = crafted_path("out"),
                        *bad = crafted_path("bad.deb"), *out2 = crafted_path("out2");
    crafted_shell(
        "mkdir -p d/boot out out2 && echo 2.0 > debian-binary && echo k > d/boot/vmlinuz && ln -s "
        "/etc/passwd d/boot/link"
        " && echo x > d/other && tar -C d -cJf data.tar.xz . && tar -cf control.tar d/other"
        " && ar rc p.deb debian-binary control.tar data.tar.xz"
        " && tar -C d -cf data.tar --transform 's,boot/vmlinuz,boot/../../escaped,' boot/vmlinuz"
        " && ar rc bad.deb debian-binary data.tar && head -c 300 p.deb > cut.deb");
    CHECK_INT(unpack_deb(&context, deb, prefixes, out, MIB, &error), 1);
    CHECK_INT(unpack_deb(&context, deb, prefixes, out, MIB, &error),
              -EBADMSG); /* it is there now */
    CHECK(unpack_deb(&context, bad, prefixes, out2, MIB, &error) < 0);
    CHECK_INT(error.kind, ERROR_CORRUPT);
    crafted_shell("test -f out/boot/vmlinuz && test ! -e out/boot/link && test ! -e out/other && "
                  "test ! -e escaped");
    _cleanup_free_ char *cut = crafted_path("cut.deb");
    CHECK(unpack_deb(&context, cut, prefixes, out2, MIB, &error) < 0);
    CHECK(unpack_deb(&context, deb, prefixes, out2, 1, &error) < 0);
}

static void test_paths(void) {
    static const char *const bad[] = {"", "/a", "a//b", "a/", "./a", "a/.", "..", "a/../b", "../a"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(!unpack_path_is_safe(bad[i]));
    CHECK(unpack_path_is_safe("a"));
    CHECK(unpack_path_is_safe("a/..b/c...d"));
}

static void test_apt_fields(void) {
    const char *text = "Package: busybox-static\nVersion:1.2\nDescription: one\n two\n\nPackage: "
                       "other\nSHA256: x\n";
    _cleanup_free_ char *name = apt_field(text, "Package"), *version = apt_field(text, "Version"),
                        *digest = apt_field(text, "SHA256");
    CHECK_STR(name, "busybox-static");
    CHECK_STR(version, "1.2");
    CHECK(!digest);
}

/* A listing is what a disk says: only whole lines with a version that is safe in a path count. */
static void test_kernel_of_a_disk(void) {
    static const struct {
        const char *listing, *version;
    } cases[] = {
        {"", NULL},
        {"/2/040755/0/0/.//\n/12/100644/0/0/vmlinuz-6.1.0-9-cloud-amd64/8/\n"
         "/13/100644/0/0/vmlinuz-6.1.0-10-cloud-amd64/8/\n/14/100644/0/0/vmlinuz.old/8/\n",
         "6.1.0-10-cloud-amd64"},
        {"/13/100644/0/0/vmlinuz-../../etc/8/\n", NULL},
        {"/13/100644/0/0/vmlinuz-/8/\n", NULL},
        {"/13/100644/0/0/vmlinuz-1 -x/8/\n/13/100644/0/0/vmlinuz-a\"b/8/\n", NULL},
        {"vmlinuz-6.1\n/1/2/3/4/vmlinuz-6.1", NULL},
        {"/0/vmlinuz-9.9/0/0/initrd.img-6.1/8/\n", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *version = disk_kernel_choose(cases[i].listing);
        CHECK((version == NULL) == (cases[i].version == NULL));
        if (version)
            CHECK_STR(version, cases[i].version);
    }
}

int main(void) {
    crafted_begin();
    RUN(test_kernel_of_a_disk);
    RUN(test_bundle_of_files);
    RUN(test_changed_module_is_a_new_bundle);
    RUN(test_plain_vmlinux);
    RUN(test_refused);
    RUN(test_damaged_bundle);
    RUN(test_initramfs);
    RUN(test_no_agent);
    RUN(test_deb);
    RUN(test_paths);
    RUN(test_apt_fields);
    return 0;
}
