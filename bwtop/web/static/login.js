// The login form: sends the token in a header, never in a URL, and receives a cookie.

const form = document.getElementById("login");
const field = document.getElementById("token");
const wrong = document.getElementById("wrong");
const button = form.querySelector("button");

async function logIn(token) {
  const answer = await fetch(`${form.dataset.root}login`, {
    headers: { Authorization: `Bearer ${token}` },
    cache: "no-store",
  });
  if (answer.ok) return "";
  return answer.status === 401 ? "Wrong token." : (await answer.json()).error;
}

// Opens the requested page; a one-time link does not work again.
function open() {
  if (location.pathname.endsWith("/login")) location.replace(form.dataset.root);
  else location.reload();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const token = field.value.trim();
  button.disabled = true;
  wrong.textContent = "";
  try {
    // Headers and tokens are printable ASCII.
    const fault = /^[\x21-\x7e]+$/.test(token) ? await logIn(token) : "Wrong token.";
    if (!fault) return open();
    wrong.textContent = fault;
  } catch {
    wrong.textContent = "bwtop does not answer.";
  }
  button.disabled = false;
  field.focus();
  field.select();
});
