SECRET_KEY = "for a test"
ROOT_URLCONF = "django_app"
ALLOWED_HOSTS = ["*"]
MIDDLEWARE = ["django_app.hook"]
