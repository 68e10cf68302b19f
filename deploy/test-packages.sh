#!/usr/bin/env bash
# Installs what tests need of Debian's packages: a browser, its driver and a font with Chinese characters for the page; openssl for certificates.
set -euo pipefail
packages=(chromium chromium-driver fonts-noto-cjk openssl)

say() { printf 'groundwatch: %s\n' "$*" >&2; }

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if command -v chromedriver >/dev/null && { command -v chromium || command -v google-chrome; } >/dev/null && [ ${#missing[@]} -gt 0 ]; then
  missing=($(printf '%s\n' "${missing[@]}" | grep -v chromium || true))
fi
if command -v openssl >/dev/null; then
  missing=($(printf '%s\n' "${missing[@]}" | grep -vx openssl || true))
fi
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo -n)
  sudo -n true 2>/dev/null || as_root=(false)
fi
if ! command -v apt-get >/dev/null || [ "${as_root[*]:-}" = false ]; then
  say "the page tests need ${missing[*]} (on Debian, as root: apt-get install ${missing[*]}); they are skipped without"
  exit 0
fi
say "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install() { "${as_root[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}" >&2; }
install || { "${as_root[@]}" apt-get update -q >&2 && install; } ||
  say "they could not be installed; the page tests are skipped without"
