/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RAMET_DISK_LAYERS_TREE_PATH_H
#define RAMET_DISK_LAYERS_TREE_PATH_H

/* From an archive's names to nodes. */

#include "disk/layers/tree.h"

/* "./a//b/" → "a/b"; "" for the root itself. A leading "/" means the root of the tree, as for other
 * programs that apply layers. ERROR_CORRUPT for "..", NULL and what is too long. The caller owns
 * it.
 */
int tree_clean_path(const char *path, char **clean, Error *error);

typedef struct TreePlace {
    TreeNode *parent;
    const char *name; /* borrowed from the path */
} TreePlace;

/* Where a clean path that is not "" lies. Symbolic links on the way are followed as in a guest
 * whose root this is; the last part is not followed. Folders that are absent are made, root's and
 * as old as `changed_sec`, if `make` says so. Returns 1, 0 when one is absent or, without `make`,
 * no folder, or ERROR_CORRUPT. */
int tree_find_place(Tree *tree, const char *path, unsigned layer, bool make, int64_t changed_sec,
                    TreePlace *place, Error *error);

/* The node of a clean path, or NULL: 1, 0 or an error as above. */
int tree_find(Tree *tree, const char *path, TreeNode **node, Error *error);

/* Makes a folder, and those that lead there, where they are absent; links are followed to the end.
 */
int tree_make_folder(Tree *tree, const char *path, mode_t mode, unsigned layer, Error *error);

#endif
