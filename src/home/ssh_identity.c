/* SPDX-License-Identifier: Apache-2.0 */

/* The private part is written first, so that a public one is never without it: a VM that was told
 * of a key lets its owner in. The folder is its owner's alone. */

#include "home/ssh_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"

#define KEY_NAME "id_ed25519"
#define PUBLIC_NAME KEY_NAME ".pub"

static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

/* False: there is none, or it is no line. */
static bool read_public(int folder_fd, char public_key[SSH_PUBLIC_KEY_SIZE]) {
    _cleanup_free_ char *text = NULL;
    if (faccessat(folder_fd, KEY_NAME, F_OK, 0) < 0 ||
        fd_read_file_at(folder_fd, PUBLIC_NAME, SSH_PUBLIC_KEY_SIZE - 1, &text, NULL) < 0)
        return false;
    text[strcspn(text, "\r\n")] = '\0';
    (void)snprintf(public_key, SSH_PUBLIC_KEY_SIZE, "%s", text);
    return str_has_prefix(text, "ssh-");
}

static int write_pair(int folder_fd, const char *private_key, const char *public_key,
                      Error *error) {
    _cleanup_free_ char *line = str_format("%s\n", public_key);
    char *text = ssh_key_wrap(private_key);
    int r = path_write_atomic_at(folder_fd, KEY_NAME, text, strlen(text), 0600);
    explicit_bzero(text, strlen(text));
    free(text);
    if (r >= 0)
        r = path_write_atomic_at(folder_fd, PUBLIC_NAME, line, strlen(line), 0644);
    return r < 0 ? error_set_errno(error, -r, "cannot write the home's SSH key") : 0;
}

static int make_pair(int folder_fd, char public_key[SSH_PUBLIC_KEY_SIZE], Error *error) {
    char private_key[SSH_PRIVATE_KEY_SIZE], made[SSH_PUBLIC_KEY_SIZE];
    int r = ssh_key_make("ramet", private_key, made, error);
    if (r >= 0)
        r = write_pair(folder_fd, private_key, made, error);
    explicit_bzero(private_key, sizeof(private_key));
    if (r >= 0)
        memcpy(public_key, made, SSH_PUBLIC_KEY_SIZE);
    return r;
}

int ssh_identity_ensure(const Home *home, char public_key[SSH_PUBLIC_KEY_SIZE], Error *error) {
    _cleanup_free_ char *folder = str_format("%s/ssh", home_path(home));
    int r = path_make_folders(folder, 0700);
    _cleanup_close_ int fd = r < 0 ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(error, r < 0 ? -r : errno, "cannot open %s", folder);
    (void)pthread_mutex_lock(&making);
    r = read_public(fd, public_key) ? 0 : make_pair(fd, public_key, error);
    (void)pthread_mutex_unlock(&making);
    return r;
}
