/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_BASE_PATH_H
#define RAMET_BASE_PATH_H

/* Paths and small file operations. */

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/* Joins with '/'; NULL ends the list. Aborts when out of memory. The caller owns the result. */
char *path_join_list(const char *first, ...) __attribute__((sentinel));
#define path_join(...) path_join_list(__VA_ARGS__, NULL)

/* Is it a name as docs/contract says: [a-z0-9][a-z0-9_.-]{0,62}? */
bool name_is_valid(const char *name);

/* Checks a name of a thing ("image", "VM"); ERROR_USAGE with the rule in the message if it is bad.
 */
int name_check(const char *what, const char *name, Error *error);

/* Room for what a thing is called; one that is of a lab is called "LAB/NAME". */
#define NAME_SIZE 128

/* The same for what a thing that exists is called: "LAB/NAME", too. */
int name_check_existing(const char *what, const char *name, Error *error);

/* The NAME of "LAB/NAME"; without a slash all of it. Borrowed. */
const char *name_within_lab(const char *name);

/* Makes a folder and its missing parents. An existing folder is success. */
int path_make_folders(const char *path, mode_t mode);

/* Removes a file or a whole folder below dir_fd without following symbolic links; absent is
 * success. It goes on after an error and returns the first one. */
int path_remove_tree_at(int dir_fd, const char *name);
int path_remove_tree(const char *path);

/* Writes a small file so that a reader sees the old or the new content: scratch file beside it,
 * fsync, rename, fsync of the folder. */
int path_write_atomic_at(int dir_fd, const char *name, const void *data, size_t size, mode_t mode);

/* fsync of the folder itself. */
int path_sync_folder(const char *path);

/* Searches $PATH (with /usr/local/sbin, /usr/sbin and /sbin added) for a program; NULL when there
 * is none. The caller owns the result. A name with '/' is returned as it is when it is executable.
 */
char *path_find_program(const char *name);

/* Adds those folders to this process's own $PATH where it lacks them, so that the programs that it
 * starts find there what they start themselves (fakeroot its mke2fs): a normal user's PATH has no
 * sbin folder on Debian. Before there are threads. */
void path_add_system_folders(void);

/* Where this program's siblings are (build/ramet → build/ramet-keeper; installed: libexecdir or
 * bindir). Finds `name` beside /proc/self/exe, then in the install folders. Caller owns. */
char *path_find_sibling(const char *name);

#endif
