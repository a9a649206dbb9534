// Where the threads of a step meet. Whoever waits spins, which is soonest. If that takes long, somebody else has a core of ours, and who spins
// on would take from the other thread's time too: it sleeps then.
#pragma once
#include <sched.h>
#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <atomic>
#include <chrono>

class Barrier {
  std::atomic<int> arrived{0}, round{0}, sleepers{0};

  void sleep(int now) {
#ifdef __linux__
    sleepers.fetch_add(1);
    syscall(SYS_futex, (int*)&round, FUTEX_WAIT_PRIVATE, now, nullptr, nullptr, 0);  // not at all if the round is another by now
    sleepers.fetch_sub(1);
#else
    sched_yield();
#endif
  }

  void wake() {
#ifdef __linux__
    if (sleepers.load()) syscall(SYS_futex, (int*)&round, FUTEX_WAKE_PRIVATE, 1 << 30, nullptr, nullptr, 0);
#endif
  }

 public:
  void wait(int threads) {
    if (threads == 1) return;
    const int now = round.load(std::memory_order_acquire);
    if (arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived.store(0, std::memory_order_relaxed);
      round.store(now + 1);
      wake();
      return;
    }
    const auto spinning = std::chrono::microseconds(200);
    std::chrono::steady_clock::time_point begun;
    for (int spins = 0; round.load(std::memory_order_acquire) == now; spins++) {
      if (spins < 4096) continue;
      if (spins == 4096) begun = std::chrono::steady_clock::now();
      if (std::chrono::steady_clock::now() - begun < spinning) sched_yield();
      else sleep(now);
    }
  }
};
