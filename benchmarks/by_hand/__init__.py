"""What the library is compared with: training loops written by hand, without it."""
