/* SPDX-License-Identifier: Apache-2.0 */

/* The time of day is in its header: its name is of what it holds.
 *
 * cloud-init runs bootcmd in each boot, early in its stage "network". It is told to leave alone
 * what the agent sees to: name, host keys, network, size of the disk. The network is left without a
 * configuration, since whatever manages it would undo in a clone what the agent has set. */

#include "image/nocloud.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/digest.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "disk/iso.h"
#include "disk/publish.h"
#include "proto/agent_unit.h"

#define AGENT_MAX_BYTES (64 * MIB)

static const char user_data[] = "#cloud-config\n"
                                "bootcmd:\n"
                                "  - [sh, -c, \"mkdir -p /run/ramet-seed && mount -o ro "
                                "/dev/disk/by-label/cidata /run/ramet-seed && "
                                "sh /run/ramet-seed/agent.sh; umount /run/ramet-seed\"]\n"
                                "preserve_hostname: true\n"
                                "manage_etc_hosts: false\n"
                                "ssh_deletekeys: false\n"
                                "ssh_genkeytypes: []\n"
                                "disable_root: false\n"
                                "growpart: {mode: 'off'}\n"
                                "resize_rootfs: false\n";
static const char meta_data[] = "instance-id: ramet\n";
static const char network_config[] = "config: disabled\n";

/* Of the /run that an initramfs mounts nothing can be executed. */
static const char agent_script[] =
    "# Puts the agent into /run, where nothing of the disk changes.\n"
    "set -e\n"
    "cd \"$(dirname \"$0\")\"\n"
    "mkdir -p /run/ramet /run/systemd/system\n"
    "mount -t tmpfs -o mode=0755,nosuid,nodev,size=64M ramet /run/ramet\n"
    "cp agent /run/ramet/agent\n"
    "chmod 755 /run/ramet/agent\n"
    "cp agent.service /run/systemd/system/ramet-agent.service\n"
    "systemctl daemon-reload\n"
    "systemctl start --no-block ramet-agent.service\n";

typedef struct File {
    const char *name;
    const void *data; /* borrowed */
    size_t size;
} File;

#define FILES 6

static int add_file(IsoWriter *writer, const File *file, Error *error) {
    const struct stat info = {.st_mode = S_IFREG | 0644, .st_size = (off_t)file->size};
    int r = iso_begin_entry(writer, file->name, &info, NULL, error);
    return r < 0 || file->size == 0 ? r : iso_add_data(writer, file->data, file->size, error);
}

static int write_files(const File *files, int fd, Error *error) {
    _cleanup_iso_ IsoWriter *writer = NULL;
    int r = iso_open(fd, "volume-id=cidata,rockridge=useful,joliet", &writer, error);
    for (size_t i = 0; r >= 0 && i < FILES; i++)
        r = add_file(writer, &files[i], error);
    return r < 0 ? r : iso_close(writer, error);
}

static void make_key(const File *files, char key[SHA256_HEX_SIZE]) {
    _cleanup_(sha256_free_p) Sha256 *hash = sha256_new();
    for (size_t i = 0; i < FILES; i++) {
        sha256_update(hash, files[i].name, strlen(files[i].name) + 1);
        sha256_update(hash, &files[i].size, sizeof(files[i].size));
        sha256_update(hash, files[i].data, files[i].size);
    }
    sha256_finish(hash, key);
}

static int publish(const ImageContext *context, const char *name, const File *files, Error *error) {
    PublishOptions options = image_publish_options(context, "initramfs", name);
    _cleanup_(publish_free_p) Publish *publish = NULL;
    bool exists = false;
    int r = publish_begin(&options, &publish, &exists, error);
    if (r < 0 || exists)
        return r;
    r = write_files(files, publish_scratch_fd(publish), error);
    return r < 0 ? r : publish_commit(publish, error);
}

static int ensure(const ImageContext *context, const File *files, char **path, char **key,
                  Error *error) {
    char hex[SHA256_HEX_SIZE];
    make_key(files, hex);
    _cleanup_free_ char *name = str_format("%s.iso", hex);
    _cleanup_free_ char *folder = path_join(context->home, "initramfs");
    _cleanup_free_ char *final = path_join(folder, name);
    int r = access(final, R_OK) < 0 ? publish(context, name, files, error) : 0;
    if (r < 0)
        return r;
    (void)utimensat(AT_FDCWD, final, NULL, 0); /* when it was used: usage/boot_files.h */
    *path = TAKE_PTR(final);
    *key = TAKE_PTR(name);
    return 0;
}

#define TEXT_FILE(name, text) \
    { name, text, strlen(text) }

int nocloud_ensure(const ImageContext *context, const char *agent_path, const char *home_key,
                   char **path, char **key, Error *error) {
    _cleanup_free_ char *agent = NULL, *user = NULL;
    size_t size = 0;
    int r = fd_read_file_at(AT_FDCWD, agent_path, AGENT_MAX_BYTES, &agent, &size);
    if (r < 0)
        return error_set_errno(error, -r, "cannot read the agent %s", agent_path);
    user = *home_key ? str_format("%sssh_authorized_keys: ['%s']\n", user_data, home_key)
                     : str_copy(user_data);
    const File files[FILES] = {
        TEXT_FILE("user-data", user),           TEXT_FILE("meta-data", meta_data),
        TEXT_FILE("agent.sh", agent_script),    TEXT_FILE("network-config", network_config),
        TEXT_FILE("agent.service", AGENT_UNIT), {"agent", agent, size},
    };
    return ensure(context, files, path, key, error);
}
