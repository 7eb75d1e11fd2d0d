/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ssh_key.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base64.h"
#include "base/str.h"
#include "check.h"

static void test_format(void) {
    static const char head[] = "openssh-key-v1\0\0\0\0\4none\0\0\0\4none\0\0\0\0\0\0\0\1\0\0\0\x33"
                               "\0\0\0\x0bssh-ed25519\0\0\0\x20";
    char private[SSH_PRIVATE_KEY_SIZE], public[SSH_PUBLIC_KEY_SIZE];
    size_t size = 0, blob_size = 0;
    char *blob = NULL, *bytes = NULL;
    CHECK_INT(ssh_key_make("root@web1", private, public, NULL), 0);
    CHECK_INT(base64_decode(private, strlen(private), &bytes, &size), 0);

    CHECK(size > sizeof(head) && memcmp(bytes, head, sizeof(head) - 1) == 0);
    CHECK(strncmp(public, "ssh-ed25519 ", 12) == 0);
    CHECK(strcmp(public + strlen(public) - 10, " root@web1") == 0);
    CHECK_INT(base64_decode(public + 12, strcspn(public + 12, " "), &blob, &blob_size), 0);
    CHECK_INT(blob_size, 51);
    CHECK(memcmp(bytes + sizeof(head) - 1 - 19, blob, blob_size) == 0);
    CHECK(memmem(bytes + sizeof(head) + 32, size - sizeof(head) - 32, blob + 19, 32) != NULL);
    free(bytes);
    free(blob);
}

static void test_all_differ(void) {
    char private[2][SSH_PRIVATE_KEY_SIZE], public[2][SSH_PUBLIC_KEY_SIZE], comment[300];
    memset(comment, 'c', sizeof(comment) - 1);
    comment[sizeof(comment) - 1] = '\0';
    for (int i = 0; i < 2; i++)
        CHECK_INT(ssh_key_make(comment, private[i], public[i], NULL), 0);
    CHECK(strcmp(private[0], private[1]) != 0);
    CHECK(strcmp(public[0], public[1]) != 0);
    CHECK_INT(strlen(strrchr(public[0], ' ')), 1 + SSH_COMMENT_MAX);
}

/* What OpenSSH itself reads of it, where it is installed: comments of each length, for the padding.
 */
static void test_with_openssh(void) {
    char private[SSH_PRIVATE_KEY_SIZE], public[SSH_PUBLIC_KEY_SIZE], line[SSH_PUBLIC_KEY_SIZE] = "";
    char comment[10] = "", folder[] = "/tmp/ramet-test-XXXXXX";
    if (access("/usr/bin/ssh-keygen", X_OK) < 0)
        return;
    CHECK(mkdtemp(folder));
    _cleanup_free_ char *path = str_format("%s/key", folder);
    _cleanup_free_ char *command = str_format("ssh-keygen -y -P '' -f %s", path);

    for (size_t i = 0; i < sizeof(comment) - 1; i++) {
        comment[i] = 'c';
        CHECK_INT(ssh_key_make(comment, private, public, NULL), 0);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        _cleanup_free_ char *text = ssh_key_wrap(private);
        CHECK(dprintf(fd, "%s", text) > 0);
        (void)close(fd);
        FILE *output = popen(command, "re"); /* NOLINT(cert-env33-c): a test */

        CHECK(output && fgets(line, sizeof(line), output));
        CHECK_INT(pclose(output), 0);
        line[strcspn(line, "\n")] = '\0';
        CHECK_STR(line, public);
    }
    CHECK_INT(unlink(path), 0);
    CHECK_INT(rmdir(folder), 0);
}

int main(void) {
    RUN(test_format);
    RUN(test_all_differ);
    RUN(test_with_openssh);
    return 0;
}
