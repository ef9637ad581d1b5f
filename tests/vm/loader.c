/* Loads the programs of a BPF object one by one, attaches each in every way it can be, and says how that went: one line
 * for each thing, of words between tabs, for tests/vm/loading.py to read. Static, for an initramfs.
 *
 *     loader OBJECT PROGRAM[,PROGRAM…] INTERFACE…
 *
 *     card    INTERFACE  DRIVER  QUEUES
 *     load    PROGRAM    ERRNO   MILLISECONDS     (errno 0: loaded)
 *     verified PROGRAM   INSTRUCTIONS             (that the verifier went through, of a million; from Linux 5.16 on)
 *     verifier PROGRAM   LINE                     (of a refused program: the last lines of the verifier's log)
 *     unprivileged PROGRAM ERRNO                  (without CAP_PERFMON and CAP_SYS_ADMIN)
 *     attach  PROGRAM    MODE    INTERFACE ERRNO  (mode: native, generic or tc)
 */
#define _GNU_SOURCE
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LINES 12

static char *lines[LINES];
static unsigned said;

static int listen_to(enum libbpf_print_level level, const char *form, va_list arguments)
{
	char *text, *line, *rest;

	if (level >= LIBBPF_DEBUG || vasprintf(&text, form, arguments) < 0)
		return 0;
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		free(lines[said % LINES]);
		lines[said++ % LINES] = strdup(line);
	}
	free(text);
	return 0;
}

static double milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static struct bpf_object *load(const char *path, const char *name, int *error)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	struct bpf_program *program;

	if (!object) {
		*error = errno;
		return NULL;
	}
	bpf_object__for_each_program(program, object)
		bpf_program__set_autoload(program, !strcmp(bpf_program__name(program), name));
	*error = -bpf_object__load(object);
	if (!*error)
		return object;
	bpf_object__close(object);
	return NULL;
}

/* In a process of its own, for capabilities that are dropped do not come back. */
static void without_perfmon(const char *path, const char *name)
{
	pid_t child;
	int error;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
		struct __user_cap_data_struct data[2];

		syscall(SYS_capget, &header, data);
		data[0].effective &= ~(1u << CAP_SYS_ADMIN);
		data[1].effective &= ~(1u << (CAP_PERFMON - 32));
		syscall(SYS_capset, &header, data);
		load(path, name, &error);
		printf("unprivileged\t%s\t%d\n", name, error);
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

static void attach_xdp(const char *name, int fd, const char *interface, const char *mode, __u32 flags)
{
	int index = if_nametoindex(interface);
	int error = -bpf_xdp_attach(index, fd, flags | XDP_FLAGS_UPDATE_IF_NOEXIST, NULL);

	printf("attach\t%s\t%s\t%s\t%d\n", name, mode, interface, error);
	if (!error)
		bpf_xdp_detach(index, flags, NULL);
}

static void attach_tc(const char *name, int fd, const char *interface)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = if_nametoindex(interface), .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, options, .prog_fd = fd);
	int error = -bpf_tc_hook_create(&hook);

	if (error == 0 || error == EEXIST)
		error = -bpf_tc_attach(&hook, &options);
	printf("attach\t%s\ttc\t%s\t%d\n", name, interface, error);
	hook.attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS;
	bpf_tc_hook_destroy(&hook);
}

static void try(const char *path, const char *name, char **interfaces)
{
	struct bpf_prog_info info = {};
	__u32 size = sizeof(info);
	double began = milliseconds();
	struct bpf_object *object;
	int error, fd;

	said = 0;
	object = load(path, name, &error);
	printf("load\t%s\t%d\t%.0f\n", name, error, milliseconds() - began);
	if (!object) {
		for (unsigned at = said > LINES ? said - LINES : 0; at < said; at++)
			printf("verifier\t%s\t%.200s\n", name, lines[at % LINES]);
		return;
	}
	without_perfmon(path, name);
	fd = bpf_program__fd(bpf_object__find_program_by_name(object, name));
	if (!bpf_obj_get_info_by_fd(fd, &info, &size) && info.verified_insns)
		printf("verified\t%s\t%u\n", name, info.verified_insns);
	for (; *interfaces; interfaces++) {
		if (strstr(name, "xdp")) {
			attach_xdp(name, fd, *interfaces, "native", XDP_FLAGS_DRV_MODE);
			attach_xdp(name, fd, *interfaces, "generic", XDP_FLAGS_SKB_MODE);
		} else {
			attach_tc(name, fd, *interfaces);
		}
	}
	bpf_object__close(object);
}

static void introduce(const char *interface)
{
	char path[PATH_MAX], driver[PATH_MAX] = "";
	struct dirent *entry;
	int queues = 0;
	DIR *directory;

	snprintf(path, sizeof(path), "/sys/class/net/%s/device/driver", interface);
	if (readlink(path, driver, sizeof(driver) - 1) < 0)
		driver[0] = 0;
	snprintf(path, sizeof(path), "/sys/class/net/%s/queues", interface);
	directory = opendir(path);
	while (directory && (entry = readdir(directory)))
		queues += !strncmp(entry->d_name, "rx-", 3);
	if (directory)
		closedir(directory);
	printf("card\t%s\t%s\t%d\n", interface, basename(driver), queues);
}

int main(int count, char **arguments)
{
	char *name, *rest;

	if (count < 3) {
		fprintf(stderr, "usage: loader OBJECT PROGRAM[,PROGRAM…] INTERFACE…\n");
		return 2;
	}
	libbpf_set_print(listen_to);
	for (char **interface = arguments + 3; *interface; interface++)
		introduce(*interface);
	for (name = strtok_r(arguments[2], ",", &rest); name; name = strtok_r(NULL, ",", &rest))
		try(arguments[1], name, arguments + 3);
	return 0;
}
